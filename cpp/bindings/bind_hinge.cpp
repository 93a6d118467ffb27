// Large-margin losses of embeddings: rows, nodes and a table of constraints in, the value and the gradients
// out.
#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "bindings/bindings.hpp"
#include "bindings/call.hpp"
#include "bindings/enums.hpp"

namespace fastcca::bindings {
namespace {

using Indices = py::array_t<Index, py::array::c_style>;
using Weights = py::array_t<double, py::array::c_style>;
// class_start, positives, negative_start, negatives
using Table = std::tuple<Indices, Indices, Indices, Indices>;

bool ascends(const Indices& starts, Index total) {
    const Index* at = starts.data();
    for (Index i = 1; i < starts.size(); ++i)
        if (at[i] < at[i - 1]) return false;
    return at[0] == 0 && at[starts.size() - 1] == total;
}

bool all_below(const Indices& nodes, Index n) {
    return std::all_of(nodes.data(), nodes.data() + nodes.size(), [n](Index i) { return i >= 0 && i < n; });
}

ConstraintTable table_of(const Table& table, Index n_nodes) {
    const auto& [class_start, positives, negative_start, negatives] = table;
    for (const Indices* part : {&class_start, &positives, &negative_start, &negatives})
        require(part->ndim() == 1, "a table must hold 1-d arrays");
    require(class_start.size() >= 1 && ascends(class_start, positives.size()),
            "class_start must ascend from 0 to the number of pairs");
    require(negative_start.size() == positives.size() + 1 && ascends(negative_start, negatives.size()),
            "negative_start must ascend from 0 to the number of negatives, with one entry more than pairs");
    require(all_below(positives, n_nodes) && all_below(negatives, n_nodes), "a table must hold rows of U");
    return {class_start.size() - 1, class_start.data(), positives.data(), negative_start.data(),
            negatives.data()};
}

template <typename T>
py::tuple hinge_loss_(const Array<T>& Z, const Array<T>& U, const Indices& y,
                      const std::optional<Weights>& weights, double weight, double margin,
                      const std::optional<Array<T>>& costs, const std::optional<Table>& table,
                      HingeSimilarity similarity, HingeLoss loss, std::uint64_t seed, bool gradient,
                      int n_threads) {
    HingeProblem<T> problem;
    problem.Z = matrix_view(Z, "Z");
    problem.U = matrix_view(U, "U");
    require(
        problem.Z.rows >= 1 && problem.U.rows >= 1 && problem.Z.cols >= 1 && problem.Z.cols == problem.U.cols,
        "Z and U must have rows, and the same columns");
    require(y.ndim() == 1 && y.size() == problem.Z.rows, "y must hold one class for each row of Z");
    problem.y = y.data();
    if (weights) {
        require(weights->ndim() == 1 && weights->size() == problem.Z.rows,
                "weights must have one entry per row");
        problem.weights = weights->data();
    }
    problem.weight = weight;
    problem.margin = margin;
    ConstraintTable constraints;
    if (table) {
        constraints = table_of(*table, problem.U.rows);
        problem.table = &constraints;
    }
    if (costs) {
        problem.costs = matrix_view(*costs, "margin");
        require(problem.costs.rows == (table ? constraints.n_classes : problem.U.rows) &&
                    problem.costs.cols == problem.U.rows,
                "margin must have a row for each class and a column for each node");
    }
    problem.similarity = similarity;
    problem.loss = loss;
    problem.seed = seed;
    const auto call = [&](T* grad_Z, T* grad_U) {
        return checked(n_threads, {"Z", "U"}, [&] { return core<T>().hinge_loss(problem, grad_Z, grad_U); });
    };
    if (!gradient) {
        const HingeValue value = call(nullptr, nullptr);
        return py::make_tuple(value.value, py::none(), py::none(), value.violations);
    }
    // Samples and nodes as columns: the memory of row-major gradients.
    const auto grad_Z = core<T>().scratch(problem.Z.cols, problem.Z.rows),
               grad_U = core<T>().scratch(problem.U.cols, problem.U.rows);
    const HingeValue value = call(grad_Z->data(), grad_U->data());
    return py::make_tuple(value.value, to_numpy(grad_Z).attr("T"), to_numpy(grad_U).attr("T"),
                          value.violations);
}

}  // namespace

void register_hinge(py::module_& m) {
    const auto define = [&](auto type) {
        using T = decltype(type);
        m.def("hinge_loss", &hinge_loss_<T>, py::arg("Z").noconvert(), py::arg("U").noconvert(),
              py::arg("y").noconvert(), py::arg("weights"), py::arg("weight"), py::arg("margin"),
              py::arg("costs").noconvert(), py::arg("table"), py::arg("similarity"), py::arg("loss"),
              py::arg("seed"), py::arg("gradient"), py::arg("n_threads"));
    };
    define(double{});
    define(float{});
}

}  // namespace fastcca::bindings
