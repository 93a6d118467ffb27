#include "fastcca/linalg/rows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

constexpr Index kRowsPerTask = 256;

// Rows in blocks, side by side.
template <typename F>
void for_row_blocks(Index rows, const F& f) {
    parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](Index block) {
        f(block * kRowsPerTask, std::min(kRowsPerTask, rows - block * kRowsPerTask));
    });
}

template <typename T>
[[noreturn]] void report_non_finite(const MatrixView<T>& view, std::size_t which, const char* overflow) {
    for (Index i = 0; i < view.rows; ++i)
        for (Index j = 0; j < view.cols; ++j)
            if (!std::isfinite(view(i, j))) throw NonFiniteError(which, i, j, std::isnan(view(i, j)));
    throw NumericalError(overflow);
}

}  // namespace

template <typename T>
void load_rows(const MatrixView<T>& view, std::size_t which, const T* shift, const char* overflow,
               Scratch<T>& X, Vector<double>& squares) {
    squares.resize(view.rows);
    const Vector<T> zero = shift ? Vector<T>() : Vector<T>(Vector<T>::Zero(view.cols));
    const T* by = shift ? shift : zero.data();
    for_row_blocks(view.rows, [&](Index start, Index rows) {
        for (Index i = start; i < start + rows; ++i) {
            T* x = X.data() + i * view.cols;
            const T* from = view.data + i * view.row_stride;
            if (view.col_stride == 1) {
                for (Index k = 0; k < view.cols; ++k) x[k] = from[k] - by[k];
            } else {
                for (Index k = 0; k < view.cols; ++k) x[k] = from[k * view.col_stride] - by[k];
            }
            squares[i] = static_cast<double>(X.col(i).squaredNorm());
        }
    });
    // Not finite only if an entry is not, or where squares end.
    if (!std::isfinite(squares.sum())) report_non_finite(view, which, overflow);
}

template <typename T>
void normalise_columns(Scratch<T>& X, Vector<double>& squares) {
    // Squares this small have lost digits, if not everything.
    const double small = static_cast<double>(std::numeric_limits<T>::min()) / 1e-16;
    for_row_blocks(X.cols(), [&](Index start, Index rows) {
        for (Index i = start; i < start + rows; ++i) {
            squares[i] =
                squares[i] < small ? X.col(i).template cast<double>().stableNorm() : std::sqrt(squares[i]);
            if (!(squares[i] > 0)) continue;
            if (squares[i] < small) {
                X.col(i) = (X.col(i).template cast<double>() / squares[i]).template cast<T>();
            } else {
                X.col(i) *= static_cast<T>(1 / squares[i]);
            }
        }
    });
}

#define FASTCCA_INSTANTIATE(T)                                                                        \
    template void load_rows<T>(const MatrixView<T>&, std::size_t, const T*, const char*, Scratch<T>&, \
                               Vector<double>&);                                                      \
    template void normalise_columns<T>(Scratch<T>&, Vector<double>&);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE

}  // namespace fastcca
