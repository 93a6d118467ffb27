// The correlation loss: two views in, the value and the gradients out.
#include <algorithm>
#include <optional>
#include <string>

#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

namespace fastcca::bindings {
namespace {

template <typename T>
void check_pair(const MatrixView<T>& H1, const MatrixView<T>& H2) {
    require(H1.rows == H2.rows, "H1 and H2 must have the same number of rows");
    require(H1.cols > 0 && H2.cols > 0, "H1 and H2 must have columns");
}

void check_k(Index k, Index d1, Index d2) {
    require(d1 > 0 && d2 > 0, "both views must have columns");
    require(k >= 1 && k <= std::min(d1, d2), "k must be from 1 to min(d1, d2)");
}

CorrelationOptions correlation_options(Index k, double reg1, double reg2, bool squares, bool gradient) {
    return {k, reg1, reg2, squares ? CorrelationObjective::kSquares : CorrelationObjective::kTrace, gradient};
}

template <typename T>
py::tuple correlation_loss_(const Array<T>& H1, const Array<T>& H2, Index k, double reg1, double reg2,
                            bool squares, bool gradient, int n_threads) {
    const MatrixView<T> v1 = matrix_view(H1, "H1"), v2 = matrix_view(H2, "H2");
    check_pair(v1, v2);
    check_k(k, v1.cols, v2.cols);
    require(v1.rows >= 2, "a correlation takes at least 2 samples");
    const CorrelationOptions options = correlation_options(k, reg1, reg2, squares, gradient);
    const auto call = [&](T* g1, T* g2) {
        return checked(n_threads, {"H1", "H2"},
                       [&] { return core<T>().correlation_loss(v1, v2, options, g1, g2); });
    };
    if (!gradient) return py::make_tuple(call(nullptr, nullptr), py::none(), py::none());
    // Samples as columns: the memory of a row-major gradient.
    const auto G1 = core<T>().scratch(v1.cols, v1.rows), G2 = core<T>().scratch(v2.cols, v2.rows);
    const double value = call(G1->data(), G2->data());
    return py::make_tuple(value, to_numpy(G1).attr("T"), to_numpy(G2).attr("T"));
}

py::tuple correlation_coefficients_(double n, const Array<double>& mean, const Array<double>& scatter,
                                    Index d1, Index k, double reg1, double reg2, bool squares, double eps,
                                    double rounding, const std::optional<Array<double>>& factor,
                                    int n_threads) {
    const CorrelationOptions options = correlation_options(k, reg1, reg2, squares, true);
    const Vector<double> mu = vector_of(mean, "mean");
    const Matrix<double> S = matrix_of(scatter, "scatter");
    require(S.rows() == S.cols() && S.rows() == mu.size(),
            "scatter must be square, with a row for each entry of mean");
    check_k(k, d1, mu.size() - d1);
    require(n >= 2, "a correlation takes at least 2 samples");
    require(S.allFinite() && mu.allFinite(), "the moments contain NaN or infinity");
    const Matrix<double> R = factor ? matrix_of(*factor, "factor") : Matrix<double>(0, mu.size());
    require(R.cols() == mu.size() && R.allFinite(),
            "factor must have a column for each entry of mean, without NaN or infinity");
    Coefficients c = without_gil(
        n_threads, [&] { return level().correlation_coefficients(n, mu, S, d1, eps, rounding, options, R); });
    return py::make_tuple(c.value, to_numpy(std::move(c.A)), c.precision, c.by_factors);
}

template <typename T>
py::array_t<double> correlation_factor_(const Array<T>& H1, const Array<T>& H2, const Array<double>& mean,
                                        int n_threads) {
    const MatrixView<T> v1 = matrix_view(H1, "H1"), v2 = matrix_view(H2, "H2");
    const Vector<double> mu = vector_of(mean, "mean");
    check_pair(v1, v2);
    require(mu.size() == v1.cols + v2.cols, "mean must have an entry for each column of H1 and H2");
    return to_numpy(without_gil(n_threads, [&] { return core<T>().correlation_factor(v1, v2, mu); }));
}

template <typename T>
py::tuple correlation_gradients_(const Array<T>& H1, const Array<T>& H2, const Array<double>& mean,
                                 const Array<double>& A, int n_threads) {
    const MatrixView<T> v1 = matrix_view(H1, "H1"), v2 = matrix_view(H2, "H2");
    const Vector<double> mu = vector_of(mean, "mean");
    const Matrix<double> a = matrix_of(A, "A");
    check_pair(v1, v2);
    require(mu.size() == v1.cols + v2.cols, "mean must have an entry for each column of H1 and H2");
    require(a.rows() == mu.size() && a.cols() == mu.size(), "A must be square, with a row for each column");
    // Samples as columns: the memory of a row-major gradient.
    const auto G1 = core<T>().scratch(v1.cols, v1.rows), G2 = core<T>().scratch(v2.cols, v2.rows);
    without_gil(n_threads, [&] { core<T>().correlation_gradients(v1, v2, mu, a, G1->data(), G2->data()); });
    return py::make_tuple(to_numpy(G1).attr("T"), to_numpy(G2).attr("T"));
}

}  // namespace

void register_correlation(py::module_& m) {
    const auto define = [&](auto type) {
        using T = decltype(type);
        m.def("correlation_loss", &correlation_loss_<T>, py::arg("H1").noconvert(), py::arg("H2").noconvert(),
              py::arg("k"), py::arg("reg1"), py::arg("reg2"), py::arg("squares"), py::arg("gradient"),
              py::arg("n_threads"));
        m.def("correlation_gradients", &correlation_gradients_<T>, py::arg("H1").noconvert(),
              py::arg("H2").noconvert(), py::arg("mean"), py::arg("A"), py::arg("n_threads"));
        m.def("correlation_factor", &correlation_factor_<T>, py::arg("H1").noconvert(),
              py::arg("H2").noconvert(), py::arg("mean"), py::arg("n_threads"));
    };
    define(double{});
    define(float{});
    m.def("correlation_coefficients", &correlation_coefficients_, py::arg("n"), py::arg("mean"),
          py::arg("scatter"), py::arg("d1"), py::arg("k"), py::arg("reg1"), py::arg("reg2"),
          py::arg("squares"), py::arg("eps"), py::arg("rounding"), py::arg("factor"), py::arg("n_threads"));
}

}  // namespace fastcca::bindings
