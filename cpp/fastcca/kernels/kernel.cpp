#include "fastcca/kernels/kernel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/micro_tile.hpp"
#include "fastcca/moments/moments.hpp"

namespace fastcca {
namespace {

constexpr Index kRowsPerTask = 256;  // rows of X a task takes at a time

// x^degree by repeated squaring, for whole arrays.
template <typename Array>
void power_in_place(Array x, int degree) {
    if (degree == 1) return;
    typename Array::PlainObject square = x;
    bool begun = false;
    for (;; square *= square) {
        if (degree & 1) {
            if (begun)
                x *= square;
            else
                x = square;
            begun = true;
        }
        degree >>= 1;
        if (degree == 0) return;
    }
}

template <typename T>
[[noreturn]] void report_non_finite(const MatrixView<T>& X) {
    for (Index i = 0; i < X.rows; ++i)
        for (Index j = 0; j < X.cols; ++j)
            if (!std::isfinite(X(i, j))) throw NonFiniteError(0, i, j, std::isnan(X(i, j)));
    throw std::invalid_argument("the squared length of a row overflows: scale the data down");
}

// Brings the largest entry of a row near 1, exactly: cosines stay, and their squares neither over- nor
// underflow.
template <typename Row>
void bring_near_one(Row&& row) {
    using T = typename std::decay_t<Row>::Scalar;
    const T largest = row.cwiseAbs().maxCoeff();
    if (largest > 0)
        row *= std::ldexp(T(1), std::min(-std::ilogb(largest), std::numeric_limits<T>::max_exponent - 1));
}

}  // namespace

template <typename T>
Vector<double> kernel_diagonal(const KernelSpec& spec, const MatrixView<T>& X) {
    if (spec.type == KernelType::kRbf || spec.type == KernelType::kLaplacian)
        return Vector<double>::Ones(X.rows);
    Vector<double> diagonal(X.rows);
    parallel_for((X.rows + kRowsPerTask - 1) / kRowsPerTask, [&](Index task) {
        const Index end = std::min(X.rows, (task + 1) * kRowsPerTask);
        for (Index i = task * kRowsPerTask; i < end; ++i) {
            double square = 0;
            for (Index j = 0; j < X.cols; ++j) {
                const auto x = static_cast<double>(X(i, j));
                square += spec.type == KernelType::kCosine ? (x != 0 ? 1 : 0) : x * x;
            }
            if (spec.type == KernelType::kPolynomial)
                square = std::pow(spec.gamma * square + spec.coef0, spec.degree);
            else if (spec.type == KernelType::kCosine)
                square = square > 0 ? 1 : 0;
            diagonal[i] = square;
        }
    });
    return diagonal;
}

template <typename T>
Landmarks<T>::Landmarks(const KernelSpec& spec, const MatrixView<T>& points)
    : spec_(spec), points_(points.map()) {
    if (!points_.allFinite()) report_non_finite(points);
    if (spec_.type == KernelType::kRbf || spec_.type == KernelType::kLaplacian) {
        // Distances are measured in the kernel's width where that is so small or large that squares of such
        // numbers, or gamma, might leave the range of T: by an exact factor 2^e.
        const int power = spec_.type == KernelType::kRbf ? 2 : 1;
        constexpr int kMost = std::numeric_limits<T>::max_exponent - 2;
        const T largest = points_.size() > 0 ? points_.cwiseAbs().maxCoeff() : T(0);
        // squares of the landmarks and of rows that are much larger stay within the range
        const int headroom = kMost / 4 - (largest > 0 ? std::max(std::ilogb(largest), -kMost / 2) : 0);
        const int wanted = spec_.gamma > 0 ? std::ilogb(spec_.gamma) / power : 0;
        const int e = std::clamp(std::min(wanted, headroom), -kMost, kMost);
        if (std::abs(wanted) > kMost / 8) {
            unit_ = std::ldexp(T(1), e);
            spec_.gamma = std::ldexp(spec_.gamma, -power * e);
            points_ *= unit_;
            if (!points_.allFinite()) report_non_finite(points);
        }
        // no gamma above the largest number: inf · 0 would be NaN
        spec_.gamma = std::min(spec_.gamma, static_cast<double>(std::numeric_limits<T>::max()));
    }
    if (spec_.type == KernelType::kRbf) {
        // Distances do not change under a shift; squared lengths, from which they are computed, shrink.
        const auto mean = points_.template cast<double>().colwise().mean();
        shift_ = mean.template cast<T>();
        points_.rowwise() -= shift_;
        norms_ = points_.rowwise().squaredNorm();
        if (!norms_.allFinite()) report_non_finite(points);
    }
    if (spec_.type == KernelType::kCosine)
        for (Index j = 0; j < size(); ++j) {
            bring_near_one(points_.row(j));
            const T norm = points_.row(j).norm();
            if (norm > 0) points_.row(j) /= norm;
        }
}

template <typename T>
void Landmarks<T>::tile(const MatrixView<T>& X, Index first, MutableRef<T> out) const {
    // A column per row of X: contiguous for the product, whatever X's strides.
    Matrix<T> packed = X.map().transpose();
    if (!packed.allFinite()) report_non_finite(X);
    if (spec_.type == KernelType::kGiven) {
        out = packed.middleRows(first, out.rows());
        return;
    }
    if (unit_ != 1) packed *= unit_;
    if (spec_.type == KernelType::kRbf) packed.colwise() -= shift_.transpose();
    if (spec_.type == KernelType::kCosine)
        for (Index i = 0; i < packed.cols(); ++i) bring_near_one(packed.col(i));
    if (spec_.type == KernelType::kLaplacian) {
        laplacian(packed, first, out);
        if (!out.allFinite()) report_non_finite(X);
        return;
    }
    gemm<T>(1, points_.middleRows(first, out.rows()), Op::kNone, packed, Op::kNone, 0, out);
    products_to_kernel(packed.colwise().squaredNorm(), first, out);
    if (!out.allFinite()) report_non_finite(X);
}

template <typename T>
void Landmarks<T>::products_to_kernel(const Eigen::Matrix<T, 1, Eigen::Dynamic>& norms, Index first,
                                      MutableRef<T> out) const {
    const auto gamma = static_cast<T>(spec_.gamma);
    const auto landmark_norms = norms_.size() ? norms_.segment(first, out.rows()) : norms_.segment(0, 0);
    for (Index i = 0; i < out.cols(); ++i) {
        auto column = out.col(i).array();
        switch (spec_.type) {
            case KernelType::kRbf:
                if (!std::isfinite(norms[i])) column[0] = norms[i];  // found by the caller
                // |x - z|² = |x|² + |z|² - 2 <x, z>, which rounding may leave below 0
                else
                    column = (-gamma * (norms[i] + landmark_norms.array() - 2 * column).max(T(0))).exp();
                break;
            case KernelType::kPolynomial:
                column = gamma * column + static_cast<T>(spec_.coef0);
                power_in_place(column, spec_.degree);
                break;
            case KernelType::kCosine:
                if (norms[i] > 0) column /= std::sqrt(norms[i]);
                break;
            default:
                break;
        }
    }
}

// Distances in the 1-norm: kLanes landmarks × 4 rows at a time stay in registers.
template <typename T>
void Landmarks<T>::laplacian(const Matrix<T>& packed, Index first, MutableRef<T> out) const {
    constexpr int kLanes = 2 * MicroTile<T>::kLanes;
    using Lanes = Eigen::Array<T, kLanes, 1>;
    constexpr int kRows = 4;
    const Index d = packed.rows();
    const auto distances = [&](Index j, Index i, auto rows, auto load, auto store) {
        constexpr int n = decltype(rows)::value;
        Lanes sum[n];
        for (int r = 0; r < n; ++r) sum[r].setZero();
        for (Index f = 0; f < d; ++f) {
            const Lanes z = load(j, f);
            for (int r = 0; r < n; ++r) sum[r] += (z - packed(f, i + r)).abs();
        }
        for (int r = 0; r < n; ++r) store(j, i + r, sum[r]);
    };
    const Index whole = out.rows() / kLanes * kLanes;
    const Index rest = out.rows() - whole;
    const auto load = [&](Index j, Index f) -> Lanes {
        return points_.col(f).array().template segment<kLanes>(first + j);
    };
    const auto store = [&](Index j, Index i, const Lanes& sum) {
        out.col(i).array().template segment<kLanes>(j) = sum;
    };
    const auto load_rest = [&](Index j, Index f) -> Lanes {
        Lanes z = Lanes::Zero();
        z.head(rest) = points_.col(f).array().segment(first + j, rest);
        return z;
    };
    const auto store_rest = [&](Index j, Index i, const Lanes& sum) {
        out.col(i).array().segment(j, rest) = sum.head(rest);
    };
    const auto all_landmarks = [&](Index i, auto rows) {
        for (Index j = 0; j < whole; j += kLanes) distances(j, i, rows, load, store);
        if (rest > 0) distances(whole, i, rows, load_rest, store_rest);
    };
    Index i = 0;
    for (; i + kRows <= out.cols(); i += kRows) all_landmarks(i, std::integral_constant<int, kRows>());
    for (; i < out.cols(); ++i) all_landmarks(i, std::integral_constant<int, 1>());
    const auto gamma = static_cast<T>(spec_.gamma);
    for (i = 0; i < out.cols(); ++i) out.col(i) = (-gamma * out.col(i).array()).exp().matrix();
}

template <typename T>
Matrix<T> kernel_matrix(const KernelSpec& spec, const MatrixView<T>& Z, const MatrixView<T>& X) {
    const Landmarks<T> landmarks(spec, Z);
    Matrix<T> K(Z.rows, X.rows);
    // Tiles of kRowsPerTask rows of X by four times as many landmarks.
    const Index down = (Z.rows + 4 * kRowsPerTask - 1) / (4 * kRowsPerTask);
    const Index across = (X.rows + kRowsPerTask - 1) / kRowsPerTask;
    parallel_for(down * across, [&](Index task) {
        const Index j = task % down * 4 * kRowsPerTask;
        const Index i = task / down * kRowsPerTask;
        const Index rows = std::min(kRowsPerTask, X.rows - i);
        try {
            landmarks.tile(X.middle_rows(i, rows), j,
                           K.block(j, i, std::min(4 * kRowsPerTask, Z.rows - j), rows));
        } catch (const NonFiniteError& e) {
            throw NonFiniteError(0, i + e.row, e.column, e.is_nan);
        }
    });
    return K;
}

template <typename T>
Matrix<T> kernel_matrix(const KernelSpec& spec, const MatrixView<T>& X) {
    const Landmarks<T> landmarks(spec, X);
    const Index n = X.rows;
    Matrix<T> K(n, n);
    parallel_for((n + kRowsPerTask - 1) / kRowsPerTask, [&](Index task) {
        // From the diagonal block down.
        const Index i = task * kRowsPerTask;
        const Index rows = std::min(kRowsPerTask, n - i);
        landmarks.tile(X.middle_rows(i, rows), i, K.block(i, i, n - i, rows));
    });
    const Vector<double> diagonal = kernel_diagonal(spec, X);
    parallel_for((n + kRowsPerTask - 1) / kRowsPerTask, [&](Index task) {
        const Index i = task * kRowsPerTask;
        const Index rows = std::min(kRowsPerTask, n - i);
        for (Index c = i; c < i + rows; ++c) {
            K(c, c) = static_cast<T>(diagonal[c]);
            K.block(i, c, c - i, 1) = K.block(c, i, 1, c - i).transpose();
        }
        for (Index j = i + rows; j < n; j += kRowsPerTask) {
            const Index height = std::min(kRowsPerTask, n - j);
            K.block(i, j, rows, height) = K.block(j, i, height, rows).transpose();
        }
    });
    return K;
}

#define FASTCCA_INSTANTIATE(T)                                                                       \
    template class Landmarks<T>;                                                                     \
    template Vector<double> kernel_diagonal(const KernelSpec&, const MatrixView<T>&);                \
    template Matrix<T> kernel_matrix(const KernelSpec&, const MatrixView<T>&, const MatrixView<T>&); \
    template Matrix<T> kernel_matrix(const KernelSpec&, const MatrixView<T>&);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE

}  // namespace fastcca
