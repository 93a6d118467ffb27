// Contrastive losses of two batches: rows, codes and weights in, the value and the gradients out.
#include <algorithm>
#include <optional>

#include "bindings/bindings.hpp"
#include "bindings/call.hpp"
#include "bindings/enums.hpp"

namespace fastcca::bindings {
namespace {

using Indices = py::array_t<Index, py::array::c_style>;
using Weights = py::array_t<double, py::array::c_style>;

const Index* codes_of(const std::optional<Indices>& codes, Index n) {
    if (!codes) return nullptr;
    require(codes->ndim() == 1 && codes->size() == n, "codes must have one entry per row");
    // Exact in float, and labels are counted by them.
    require(std::all_of(codes->data(), codes->data() + n, [](Index c) { return c >= 0 && c < (1 << 24); }),
            "codes must be from 0 to 2^24 - 1");
    return codes->data();
}

const double* weights_of(const std::optional<Weights>& weights, Index n) {
    if (!weights) return nullptr;
    require(weights->ndim() == 1 && weights->size() == n, "weights must have one entry per row");
    return weights->data();
}

template <typename T>
py::tuple contrastive_loss_(const Array<T>& A, const Array<T>& B, Index shift,
                            const std::optional<Indices>& a_codes, const std::optional<Indices>& b_codes,
                            ContrastiveCodes codes, const std::optional<Weights>& a_weights,
                            const std::optional<Weights>& b_weights, double a_weight, double b_weight,
                            double scale, double bias, ContrastiveLoss loss, ContrastiveSimilarity similarity,
                            bool gradient, int n_threads) {
    ContrastiveProblem<T> problem;
    problem.A = matrix_view(A, "A");
    problem.B = matrix_view(B, "B");
    const Index n_a = problem.A.rows, n_b = problem.B.rows;
    require(n_a >= 1 && n_b >= 1 && problem.A.cols >= 1 && problem.A.cols == problem.B.cols,
            "A and B must have rows, and the same columns");
    require(n_b < (1 << 24), "B has too many rows");
    require(shift >= 0 && shift <= n_b - n_a, "each row of A must have its pair in B");
    require(loss != ContrastiveLoss::kSoftmax || n_a == n_b || (!b_weights && b_weight == 0),
            "each row of B must have its pair in A");
    require(a_codes.has_value() == b_codes.has_value(), "both views must have codes, or none");
    problem.shift = shift;
    problem.a_codes = codes_of(a_codes, n_a);
    problem.b_codes = codes_of(b_codes, n_b);
    problem.codes = codes;
    problem.a_weights = weights_of(a_weights, n_a);
    problem.b_weights = weights_of(b_weights, n_b);
    problem.a_weight = a_weight;
    problem.b_weight = b_weight;
    problem.scale = scale;
    problem.bias = bias;
    problem.loss = loss;
    problem.similarity = similarity;
    const auto call = [&](T* grad_A, T* grad_B) {
        return checked(n_threads, {"Z1", "Z2"},
                       [&] { return core<T>().contrastive_loss(problem, grad_A, grad_B); });
    };
    if (!gradient) {
        const ContrastiveValue value = call(nullptr, nullptr);
        return py::make_tuple(value.value, py::none(), py::none(), 0.0, 0.0);
    }
    // Rows as columns: the memory of row-major gradients.
    const auto grad_A = core<T>().scratch(problem.A.cols, n_a),
               grad_B = core<T>().scratch(problem.B.cols, n_b);
    const ContrastiveValue value = call(grad_A->data(), grad_B->data());
    return py::make_tuple(value.value, to_numpy(grad_A).attr("T"), to_numpy(grad_B).attr("T"),
                          value.scale_slope, value.bias_slope);
}

}  // namespace

void register_contrastive(py::module_& m) {
    const auto define = [&](auto type) {
        using T = decltype(type);
        m.def("contrastive_loss", &contrastive_loss_<T>, py::arg("A").noconvert(), py::arg("B").noconvert(),
              py::arg("shift"), py::arg("a_codes").noconvert(), py::arg("b_codes").noconvert(),
              py::arg("codes"), py::arg("a_weights"), py::arg("b_weights"), py::arg("a_weight"),
              py::arg("b_weight"), py::arg("scale"), py::arg("bias"), py::arg("loss"), py::arg("similarity"),
              py::arg("gradient"), py::arg("n_threads"));
    };
    define(double{});
    define(float{});
}

}  // namespace fastcca::bindings
