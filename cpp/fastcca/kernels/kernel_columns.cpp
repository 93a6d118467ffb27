#include "fastcca/kernels/kernel_columns.hpp"

#include "fastcca/moments/moments.hpp"

namespace fastcca {
namespace {

template <typename T, typename U>
Matrix<T> gather(const MatrixView<U>& X, const std::vector<Index>& rows) {
    Matrix<T> chosen(static_cast<Index>(rows.size()), X.cols);
    for (Index j = 0; j < X.cols; ++j)
        for (Index i = 0; i < chosen.rows(); ++i)
            chosen(i, j) = static_cast<T>(X(rows[static_cast<std::size_t>(i)], j));
    return chosen;
}

}  // namespace

template <typename T>
Matrix<double> BuiltinColumns<T>::square(const std::vector<Index>& rows) {
    const Matrix<double> points = gather<double>(X_, rows);
    return kernel_matrix<double>(spec_, view_of(points));
}

template <typename T>
void BuiltinColumns<T>::choose(const std::vector<Index>& pivots) {
    const Matrix<T> points = gather<T>(X_, pivots);
    landmarks_.clear();
    landmarks_.emplace_back(spec_, view_of(points));
}

template <typename T>
void BuiltinColumns<T>::tile(Index first, MutableRef<T> out) {
    try {
        landmarks_.front().tile(X_.middle_rows(first, out.cols()), 0, out);
    } catch (const NonFiniteError& e) {
        throw NonFiniteError(0, first + e.row, e.column, e.is_nan);
    }
}

template class BuiltinColumns<float>;
template class BuiltinColumns<double>;

}  // namespace fastcca
