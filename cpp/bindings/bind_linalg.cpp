// Functions of one matrix: inverse square root, polar factor, leading singular triplets.
#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

namespace fastcca::bindings {
namespace {

py::array inverse_sqrt_(const Array<double>& S, double floor, int n_threads) {
    const Matrix<double> matrix = matrix_of(S, "S");
    require(matrix.rows() == matrix.cols(), "S must be square");
    return to_numpy(without_gil(n_threads, [&] { return level().inverse_sqrt(matrix, floor); }));
}

py::array polar_(const Array<double>& T, double eps, int n_threads) {
    const Matrix<double> matrix = matrix_of(T, "T");
    return to_numpy(without_gil(n_threads, [&] { return level().polar(matrix, eps); }));
}

py::tuple truncated_svd_(const Array<double>& A, Index k, double tol, int n_threads) {
    const Matrix<double> matrix = matrix_of(A, "A");
    Svd svd = without_gil(n_threads, [&] { return level().truncated_svd(matrix, k, tol); });
    return py::make_tuple(to_numpy(std::move(svd.U)), to_numpy(std::move(svd.values)),
                          to_numpy(std::move(svd.V)));
}

// Of each of the n × n matrices that the rows of the stack hold.
py::array largest_eigenvalues_(const Array<double>& stack, Index n, int n_threads) {
    const MatrixView<double> matrices = matrix_view(stack, "stack");
    require(n > 0 && matrices.cols == n * n, "stack must have n * n columns");
    return to_numpy(without_gil(n_threads, [&] { return level().largest_eigenvalues(matrices, n); }));
}

py::array product_(const Array<double>& A, const Array<double>& B, int n_threads) {
    const MatrixView<double> a = matrix_view(A, "A");
    const Matrix<double> b = matrix_of(B, "B");
    if (a.cols != b.rows()) throw std::invalid_argument("A has other columns than B has rows");
    return to_numpy(without_gil(n_threads, [&] { return level().product(a, b); }));
}

// A⁻¹ B of a positive definite A; None where a pivot is not above floor.
py::object solve_positive_(const Array<double>& A, const Array<double>& B, double floor, int n_threads) {
    Matrix<double> l = matrix_of(A, "A"), x = matrix_of(B, "B");
    if (l.rows() != l.cols() || l.cols() != x.rows()) throw std::invalid_argument("A must be square, B fit");
    const bool solved = without_gil(n_threads, [&] {
        if (level().cholesky(l) >= 0 || !(l.diagonal().array().square() > floor).all()) return false;
        level().solve_lower(l, x);
        level().solve_lower_transposed(l, x);
        return true;
    });
    return solved ? py::object(to_numpy(std::move(x))) : py::none();
}

}  // namespace

void register_linalg(py::module_& m) {
    m.def("inverse_sqrt", &inverse_sqrt_, py::arg("S").noconvert(), py::arg("floor"), py::arg("n_threads"));
    m.def("polar", &polar_, py::arg("T").noconvert(), py::arg("eps"), py::arg("n_threads"));
    m.def("truncated_svd", &truncated_svd_, py::arg("A").noconvert(), py::arg("k"), py::arg("tol"),
          py::arg("n_threads"));
    m.def("largest_eigenvalues", &largest_eigenvalues_, py::arg("stack").noconvert(), py::arg("n"),
          py::arg("n_threads"));
    m.def("product", &product_, py::arg("A").noconvert(), py::arg("B").noconvert(), py::arg("n_threads"));
    m.def("solve_positive", &solve_positive_, py::arg("A").noconvert(), py::arg("B").noconvert(),
          py::arg("floor"), py::arg("n_threads"));
}

}  // namespace fastcca::bindings
