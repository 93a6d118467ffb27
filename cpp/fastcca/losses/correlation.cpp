#include "fastcca/losses/correlation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/svd.hpp"
#include "fastcca/losses/contraction.hpp"
#include "fastcca/moments/moments.hpp"

namespace fastcca {
namespace {

// Below this share of a column's variance left by the columns before it (see CorrelationCoefficients::pivot),
// products in float32 cost the gradient its fifth digit.
constexpr double kFloatPivot = 1e-2;

// L of S = L Lᵀ for the covariance of one view, and the least L_jj² / S_jj.
struct Whitener {
    Scratch<double> L;
    double pivot = 1;
};

[[noreturn]] void not_positive_definite(const char* view, double n, Index d, double reg,
                                        double mean_variance) {
    std::ostringstream text;
    text << view << ": the covariance of its " << d << " columns over " << n << " rows with reg=" << reg
         << " is not positive definite to working precision";
    if (n <= static_cast<double>(d)) text << " (fewer rows than columns)";
    text << "; a reg of " << (mean_variance > 0 ? 1e-4 * mean_variance : 1e-4)
         << " or more makes it well-posed";
    throw NumericalError(text.str());
}

Whitener whitener(const char* view, double n, const Vector<double>& mean, ConstRef<double> scatter,
                  double reg, double eps) {
    const Index d = scatter.rows();
    Whitener w{Scratch<double>(d, d)};
    w.L = scatter / (n - 1);
    const double mean_variance = w.L.trace() / static_cast<double>(d);
    if (reg > 0) {
        w.L.diagonal().array() += reg;
    } else {
        // A constant column, up to the rounding of its mean: with a variance of 1 and covariances of 0 it
        // takes no part.
        for (Index j = 0; j < d; ++j) {
            const double rounding = 8 * eps * std::abs(mean[j]);
            if (w.L(j, j) > rounding * rounding) continue;
            w.L.row(j).setZero();
            w.L.col(j).setZero();
            w.L(j, j) = 1;
        }
    }
    const Vector<double> variances = w.L.diagonal();
    const Index failed = cholesky<double>(w.L);
    if (failed < 0) w.pivot = (w.L.diagonal().array().square() / variances.array()).minCoeff();
    const double least = 4 * static_cast<double>(d) * std::numeric_limits<double>::epsilon();
    if (failed >= 0 || !(w.pivot > least)) not_positive_definite(view, n, d, reg, mean_variance);
    return w;
}

template <typename S>
Scratch<S> cast(Scratch<double>&& A) {
    if constexpr (std::is_same_v<S, double>) {
        return std::move(A);
    } else {
        Scratch<S> result(A.rows(), A.cols());
        result = A.template cast<S>();
        return result;
    }
}

// A of the gradient, block by block: with the derivatives N₁₂ = dF/dS₁₂ and N_ii = −2 dF/dS_ii of the
// objective F, dF/dH₁ = (N₁₂ H₂ − N₁₁ H₁) / (m − 1) for views with samples as columns, and the loss is −F:
//     A = 1/(m − 1) [  N₁₁  −N₁₂ ]
//                   [ −N₁₂ᵀ  N₂₂ ]
template <typename S>
struct Blocks {
    Scratch<S>& A;
    Index d1;
    S scale;  // 1/(m − 1)

    MutableRef<S> first() const { return A.topLeftCorner(d1, d1); }
    MutableRef<S> second() const { return A.bottomRightCorner(A.rows() - d1, A.rows() - d1); }
    void set_cross(ConstRef<S> N12) const {
        const Index q = N12.cols(), side = 64;
        parallel_for((q + side - 1) / side, [&](Index part) {
            const Index j = part * side, width = std::min(side, q - j);
            auto upper = A.block(0, d1 + j, d1, width);
            upper = -scale * N12.middleCols(j, width);
            for (Index i = 0; i < d1; i += side) {
                const Index height = std::min(side, d1 - i);
                A.block(d1 + j, i, width, height) = upper.middleRows(i, height).transpose();
            }
        });
    }
};

// All singular values, F = ‖T‖ₜᵣ. With the polar factor P = U Vᵀ of T, for which no singular vector is
// needed,
//     F = ⟨P, T⟩,  N₁₂ = L₁⁻ᵀ P L₂⁻¹,  N₁₁ = L₁⁻ᵀ T Pᵀ L₁⁻¹ = S₁₁⁻¹ S₁₂ N₁₂ᵀ,  N₂₂ = L₂⁻ᵀ Pᵀ T L₂⁻¹
// Both terms of a gradient hold the same P, (N₁₂ H₂ − N₁₁ H₁) = L₁⁻ᵀ P (L₂⁻¹ H₂ − Tᵀ L₁⁻¹ H₁): where they
// all but cancel, its error cancels with them.
template <typename S>
double full_trace(ConstRef<S> L1, ConstRef<S> L2, ConstRef<S> Y, ConstRef<S> T, const Blocks<S>* out) {
    const Index p = T.rows(), q = T.cols();
    const Scratch<S> P = contraction_polar<S>(T);
    const double objective = P.template cast<double>().cwiseProduct(T.template cast<double>()).sum();
    if (!out) return objective;
    Scratch<S> right(2 * p, q);  // [P; T] L₂⁻¹
    right << P, T;
    solve_lower_right<S>(L2, right);
    Scratch<S> left(p, 2 * q);  // L₁⁻ᵀ [P L₂⁻¹, Y] = [N₁₂, S₁₁⁻¹ S₁₂]
    left << right.topRows(p), Y;
    solve_lower_transposed<S>(L1, left);
    known_symmetric_product<S>(out->scale, left.rightCols(q), Op::kNone, left.leftCols(q), Op::kTranspose, 0,
                               out->first());
    known_symmetric_product<S>(out->scale, right.topRows(p), Op::kTranspose, right.bottomRows(p), Op::kNone,
                               0, out->second());
    out->set_cross(left.leftCols(q));
    return objective;
}

// All singular values, F = ‖T‖²:
//     N₁₂ = 2 L₁⁻ᵀ T L₂⁻¹,  N₁₁ = 2 (L₁⁻ᵀT)(L₁⁻ᵀT)ᵀ,  N₂₂ = 2 (T L₂⁻¹)ᵀ(T L₂⁻¹)
template <typename S>
double full_squares(ConstRef<S> L1, ConstRef<S> L2, ConstRef<S> T, const Blocks<S>* out) {
    const double objective = T.template cast<double>().squaredNorm();
    if (!out) return objective;
    const Index p = T.rows(), q = T.cols();
    Scratch<S> right(p, q);
    right = T;
    solve_lower_right<S>(L2, right);
    Scratch<S> left(p, 2 * q);
    left << T, right;
    solve_lower_transposed<S>(L1, left);
    symmetric_product<S>(2 * out->scale, left.leftCols(q), Op::kNone, 0, out->first());
    symmetric_product<S>(2 * out->scale, right, Op::kTranspose, 0, out->second());
    out->set_cross(2 * left.rightCols(q));
    return objective;
}

// The k largest singular values, F = Σ f(D_i) with f(x) = x or x². With W₁ = L₁⁻ᵀ U and W₂ = L₂⁻ᵀ V (k
// columns),
//     N₁₂ = W₁ f'(D) W₂ᵀ,  N_ii = W_i D f'(D) W_iᵀ
template <typename S>
double truncated(ConstRef<double> L1, ConstRef<double> L2, ConstRef<double> T,
                 const CorrelationOptions& options, const Blocks<S>* out) {
    const bool squares = options.objective == CorrelationObjective::kSquares;
    Svd svd = truncated_svd(T, options.k);
    const double objective = squares ? svd.values.squaredNorm() : svd.values.sum();
    if (!out) return objective;
    Matrix<double>&U = svd.U, &V = svd.V;
    solve_lower_transposed<double>(L1, U);
    solve_lower_transposed<double>(L2, V);
    const Matrix<S> W1 = U.cast<S>(), W2 = V.cast<S>();
    // Symmetric products, of W_i scaled by the root of D f'(D).
    const Vector<double> slope = squares ? Vector<double>(2 * svd.values) : Vector<double>::Ones(options.k);
    const Vector<S> root = svd.values.cwiseProduct(slope).cwiseMax(0).cwiseSqrt().template cast<S>();
    symmetric_product<S>(out->scale, W1 * root.asDiagonal(), Op::kNone, 0, out->first());
    symmetric_product<S>(out->scale, W2 * root.asDiagonal(), Op::kNone, 0, out->second());
    Matrix<S> N12(T.rows(), T.cols());
    gemm<S>(1, W1 * slope.template cast<S>().asDiagonal(), Op::kNone, W2, Op::kTranspose, 0, N12);
    out->set_cross(N12);
    return objective;
}

// Rows of a block of the passes below: enough blocks for the threads, each long enough to pay for packing A.
Index block_rows(Index m, Index d) {
    const Index rows = std::clamp<Index>(d, 64, 1024);
    return std::clamp<Index>((m + 7) / 8, 64, rows);
}

// float32 data for whose products float32 is not enough: the moments of their values in double.
MomentSums double_moments(const MatrixView<float>& H1, const MatrixView<float>& H2,
                          Scratch<double>& scatter) {
    MomentsAccumulator<double> accumulator(H1.cols + H2.cols);
    constexpr Index kRows = 4096;
    for (Index start = 0; start < H1.rows; start += kRows) {
        const Index rows = std::min(kRows, H1.rows - start);
        const Matrix<double> A = H1.middle_rows(start, rows).map().template cast<double>();
        const Matrix<double> B = H2.middle_rows(start, rows).map().template cast<double>();
        accumulator.add({view_of(A), view_of(B)});
    }
    return accumulator.finish(scatter);
}

}  // namespace

template <typename S>
CorrelationCoefficients<S> correlation_coefficients(double n, const Vector<double>& mean,
                                                    ConstRef<double> scatter, Index d1, double eps,
                                                    const CorrelationOptions& options) {
    const Index d2 = scatter.rows() - d1;
    Whitener w1 = whitener("H1", n, mean.head(d1), scatter.topLeftCorner(d1, d1), options.reg1, eps);
    Whitener w2 = whitener("H2", n, mean.tail(d2), scatter.bottomRightCorner(d2, d2), options.reg2, eps);
    CorrelationCoefficients<S> out;
    out.pivot = std::min(w1.pivot, w2.pivot);
    if (std::is_same_v<S, float> && !(out.pivot > kFloatPivot)) return out;
    if (options.gradient) out.A = Scratch<S>(d1 + d2, d1 + d2);
    const Blocks<S> blocks{out.A, d1, static_cast<S>(1 / (n - 1))};
    const Blocks<S>* wanted = options.gradient ? &blocks : nullptr;
    const auto cross = scatter.topRightCorner(d1, d2) / (n - 1);
    if (options.k < std::min(d1, d2)) {
        Scratch<double> T(d1, d2);
        T = cross;
        solve_lower<double>(w1.L, T);
        solve_lower_transposed_right<double>(w2.L, T);
        out.value = -truncated<S>(w1.L, w2.L, T, options, wanted);
        return out;
    }
    const Scratch<S> L1 = cast<S>(std::move(w1.L)), L2 = cast<S>(std::move(w2.L));
    // Y = L₁⁻¹ S₁₂,  T = Y L₂⁻ᵀ
    Scratch<S> Y(d1, d2), T(d1, d2);
    Y = cross.template cast<S>();
    solve_lower<S>(L1, Y);
    T = ConstRef<S>(Y);
    solve_lower_transposed_right<S>(L2, T);
    out.value = options.objective == CorrelationObjective::kTrace ? -full_trace<S>(L1, L2, Y, T, wanted)
                                                                  : -full_squares<S>(L1, L2, T, wanted);
    return out;
}

template <typename T, typename S>
void correlation_gradients(const MatrixView<T>& H1, const MatrixView<T>& H2, const Vector<double>& mean,
                           ConstRef<S> A, T* G1, T* G2) {
    const Index m = H1.rows, d1 = H1.cols, d2 = H2.cols, d = d1 + d2;
    const Index size = block_rows(m, d);
    parallel_for((m + size - 1) / size, [&](Index block) {
        const Index start = block * size, rows = std::min(size, m - start);
        // Samples as columns: a row-major block of the views, centred.
        Scratch<S> centred(d, rows);
        const auto centre = [&](const MatrixView<T>& view, Index at) {
            const auto mu = mean.segment(at, view.cols).template cast<T>().eval();
            const auto low =
                (mean.segment(at, view.cols) - mu.template cast<double>()).template cast<S>().eval();
            const auto part = view.middle_rows(start, rows).map().transpose();
            centred.middleRows(at, view.cols) = (part.colwise() - mu).template cast<S>().colwise() - low;
        };
        centre(H1, 0);
        centre(H2, d1);
        // Gᵀ = Aᵀ [H₁ H₂]ᵀ, and A is symmetric
        const auto write = [&](T* G, Index at, Index width) {
            Eigen::Map<Matrix<T>> out(G + start * width, width, rows);
            if constexpr (std::is_same_v<S, T>) {
                out.noalias() = A.middleRows(at, width) * centred;
            } else {
                Scratch<S> product(width, rows);
                product.noalias() = A.middleRows(at, width) * centred;
                out = product.template cast<T>();
            }
        };
        write(G1, 0, d1);
        write(G2, d1, d2);
    });
}

template <typename T>
double correlation_loss(const MatrixView<T>& H1, const MatrixView<T>& H2, const CorrelationOptions& options,
                        T* G1, T* G2) {
    MomentsAccumulator<T> accumulator(H1.cols + H2.cols);
    accumulator.add({H1, H2});
    Scratch<double> scatter(H1.cols + H2.cols, H1.cols + H2.cols);
    MomentSums sums = accumulator.finish(scatter);
    const auto mean = [&] { return Vector<double>(sums.shift + sums.offset); };
    const auto coefficients = [&](auto precision) {
        return correlation_coefficients<decltype(precision)>(sums.n, mean(), scatter, H1.cols,
                                                             std::numeric_limits<T>::epsilon(), options);
    };
    if constexpr (std::is_same_v<T, float>) {
        try {
            const auto c = coefficients(T{});
            if (c.pivot > kFloatPivot) {
                if (options.gradient) correlation_gradients<T, T>(H1, H2, mean(), c.A, G1, G2);
                return c.value;
            }
        } catch (const NumericalError&) {
            // Perhaps not positive definite by the rounding of float32 alone.
        }
        sums = double_moments(H1, H2, scatter);
    }
    const auto c = coefficients(double{});
    if (options.gradient) correlation_gradients<T, double>(H1, H2, mean(), c.A, G1, G2);
    return c.value;
}

#define FASTCCA_INSTANTIATE(T)                                                      \
    template double correlation_loss<T>(const MatrixView<T>&, const MatrixView<T>&, \
                                        const CorrelationOptions&, T*, T*);         \
    template CorrelationCoefficients<T> correlation_coefficients<T>(                \
        double, const Vector<double>&, ConstRef<double>, Index, double, const CorrelationOptions&);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE
#define FASTCCA_INSTANTIATE(T, S)                                                         \
    template void correlation_gradients<T, S>(const MatrixView<T>&, const MatrixView<T>&, \
                                              const Vector<double>&, ConstRef<S>, T*, T*);
FASTCCA_INSTANTIATE(float, float)
FASTCCA_INSTANTIATE(float, double)
FASTCCA_INSTANTIATE(double, double)
#undef FASTCCA_INSTANTIATE

}  // namespace fastcca
