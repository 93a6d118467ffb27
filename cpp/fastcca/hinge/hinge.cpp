#include "fastcca/hinge/hinge.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/parts.hpp"
#include "fastcca/moments/moments.hpp"

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

[[noreturn]] void overflow() { throw NumericalError("the hinge loss overflows: scale Z and U down"); }

template <typename T>
[[noreturn]] void report_non_finite(const MatrixView<T>& view, std::size_t which) {
    for (Index i = 0; i < view.rows; ++i)
        for (Index j = 0; j < view.cols; ++j)
            if (!std::isfinite(view(i, j))) throw NonFiniteError(which, i, j, std::isnan(view(i, j)));
    overflow();
}

// X = (view − shift)ᵀ, and the squared length of each column.
template <typename T>
void load(const MatrixView<T>& view, std::size_t which, const Vector<T>& shift, Scratch<T>& X,
          Vector<double>& squares) {
    squares.resize(view.rows);
    for_row_blocks(view.rows, [&](Index start, Index rows) {
        for (Index i = start; i < start + rows; ++i) {
            T* x = X.data() + i * view.cols;
            const T* from = view.data + i * view.row_stride;
            if (view.col_stride == 1) {
                for (Index k = 0; k < view.cols; ++k) x[k] = from[k] - shift[k];
            } else {
                for (Index k = 0; k < view.cols; ++k) x[k] = from[k * view.col_stride] - shift[k];
            }
            squares[i] = static_cast<double>(X.col(i).squaredNorm());
        }
    });
    // Not finite only if an entry is not, or where squares end.
    if (!std::isfinite(squares.sum())) report_non_finite(view, which);
}

// X ← X / ‖X‖, column by column, and the lengths.
template <typename T>
void normalise(Scratch<T>& X, Vector<double>& squares) {
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

// About the mean of the rows: that of some of them.
template <typename T>
Vector<T> approximate_mean(const MatrixView<T>& view) {
    const Index n = std::min<Index>(view.rows, 64);
    Vector<T> sum = Vector<T>::Zero(view.cols);
    const auto add = [&](const T* row, Index stride) {
        for (Index k = 0; k < view.cols; ++k) sum[k] += row[k * stride];
    };
    for (Index i = 0; i < n; ++i) {
        const T* row = view.data + view.rows * i / n * view.row_stride;
        // A stride that the compiler knows lets it use packets.
        view.col_stride == 1 ? add(row, 1) : add(row, view.col_stride);
    }
    sum /= static_cast<T>(n);
    // Beyond the largest number, or none: no shift, and load() says what is wrong.
    if (!sum.allFinite()) sum.setZero();
    return sum;
}

template <typename T>
HingeOperands<T> prepare(const HingeProblem<T>& problem) {
    HingeOperands<T> o(problem.Z.cols, problem.Z.rows, problem.U.rows);
    const bool euclidean = problem.similarity == HingeSimilarity::kEuclidean;
    const Vector<T> shift =
        euclidean ? approximate_mean(problem.U) : Vector<T>(Vector<T>::Zero(problem.U.cols));
    load(problem.Z, 0, shift, o.Z, o.z_norm);
    load(problem.U, 1, shift, o.U, o.u_norm);
    if (euclidean) {
        // |q| ≤ ‖z‖ ‖u‖ + ‖u‖²/2, and so is every part of its sum.
        const double u = std::sqrt(o.u_norm.maxCoeff()), z = std::sqrt(o.z_norm.maxCoeff());
        if (!(4 * u * (z + u) < static_cast<double>(std::numeric_limits<T>::max()))) overflow();
        o.bias = (-0.5 * o.u_norm).template cast<T>();
        o.slope = 2;
    } else {
        o.bias.setZero();
        normalise(o.Z, o.z_norm);
        normalise(o.U, o.u_norm);
    }
    return o;
}

template <typename T>
void check_classes(const HingeProblem<T>& problem) {
    const Index n = problem.table ? problem.table->n_classes : problem.U.rows;
    for (Index i = 0; i < problem.Z.rows; ++i)
        if (problem.y[i] < 0 || problem.y[i] >= n)
            throw std::invalid_argument("y must hold classes from 0 to " + std::to_string(n - 1) + ", got " +
                                        std::to_string(problem.y[i]) + " at row " + std::to_string(i));
}

}  // namespace

template <typename T>
HingeValue hinge_loss(const HingeProblem<T>& problem, T* grad_Z, T* grad_U) {
    check_classes(problem);
    const HingeOperands<T> operands = prepare(problem);
    const HingeGradients<T> gradients(operands, problem.similarity, grad_Z, grad_U);
    const bool swept = problem.loss == HingeLoss::kSum || problem.loss == HingeLoss::kRank;
    const HingeValue total = problem.table ? table_hinge(problem, operands, gradients)
                             : swept       ? sweep_hinge(problem, operands, gradients)
                                           : flat_hinge(problem, operands, gradients);
    if (!std::isfinite(total.value)) overflow();
    return total;
}

template HingeValue hinge_loss<float>(const HingeProblem<float>&, float*, float*);
template HingeValue hinge_loss<double>(const HingeProblem<double>&, double*, double*);

}  // namespace fastcca
