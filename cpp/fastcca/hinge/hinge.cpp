#include "fastcca/hinge/hinge.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "fastcca/base/errors.hpp"
#include "fastcca/hinge/parts.hpp"
#include "fastcca/linalg/rows.hpp"
#include "fastcca/moments/moments.hpp"

namespace fastcca {
namespace {

constexpr const char* kOverflow = "the hinge loss overflows: scale Z and U down";

[[noreturn]] void overflow() { throw NumericalError(kOverflow); }

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
    // Beyond the largest number, or none: no shift, and load_rows says what is wrong.
    if (!sum.allFinite()) sum.setZero();
    return sum;
}

template <typename T>
HingeOperands<T> prepare(const HingeProblem<T>& problem) {
    HingeOperands<T> o(problem.Z.cols, problem.Z.rows, problem.U.rows);
    const bool euclidean = problem.similarity == HingeSimilarity::kEuclidean;
    const Vector<T> shift =
        euclidean ? approximate_mean(problem.U) : Vector<T>(Vector<T>::Zero(problem.U.cols));
    load_rows(problem.Z, 0, shift.data(), kOverflow, o.Z, o.z_norm);
    load_rows(problem.U, 1, shift.data(), kOverflow, o.U, o.u_norm);
    if (euclidean) {
        // |q| ≤ ‖z‖ ‖u‖ + ‖u‖²/2, and so is every part of its sum.
        const double u = std::sqrt(o.u_norm.maxCoeff()), z = std::sqrt(o.z_norm.maxCoeff());
        if (!(4 * u * (z + u) < static_cast<double>(std::numeric_limits<T>::max()))) overflow();
        o.bias = (-0.5 * o.u_norm).template cast<T>();
        o.slope = 2;
    } else {
        o.bias.setZero();
        normalise_columns(o.Z, o.z_norm);
        normalise_columns(o.U, o.u_norm);
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
