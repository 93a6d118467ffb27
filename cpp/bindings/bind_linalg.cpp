// Functions of one matrix: inverse square root, polar factor, leading singular triplets.
#include "bindings/bindings.hpp"
#include "bindings/call.hpp"
#include "fastcca/linalg/roots.hpp"
#include "fastcca/linalg/svd.hpp"

namespace fastcca::bindings {
namespace {

py::array inverse_sqrt_(const Array<double>& S, double floor, int n_threads) {
    const Matrix<double> matrix = matrix_of(S, "S");
    return to_numpy(without_gil(n_threads, [&] { return inverse_sqrt(matrix, floor); }));
}

py::array polar_(const Array<double>& T, double eps, int n_threads) {
    const Matrix<double> matrix = matrix_of(T, "T");
    return to_numpy(without_gil(n_threads, [&] { return polar(matrix, eps); }));
}

py::tuple truncated_svd_(const Array<double>& A, Index k, double tol, int n_threads) {
    const Matrix<double> matrix = matrix_of(A, "A");
    Svd svd = without_gil(n_threads, [&] { return truncated_svd(matrix, k, tol); });
    return py::make_tuple(to_numpy(std::move(svd.U)), to_numpy(std::move(svd.values)),
                          to_numpy(std::move(svd.V)));
}

}  // namespace

void register_linalg(py::module_& m) {
    m.def("inverse_sqrt", &inverse_sqrt_, py::arg("S").noconvert(), py::arg("floor"), py::arg("n_threads"));
    m.def("polar", &polar_, py::arg("T").noconvert(), py::arg("eps"), py::arg("n_threads"));
    m.def("truncated_svd", &truncated_svd_, py::arg("A").noconvert(), py::arg("k"), py::arg("tol"),
          py::arg("n_threads"));
}

}  // namespace fastcca::bindings
