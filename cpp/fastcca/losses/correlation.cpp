#include "fastcca/losses/correlation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/packed_product.hpp"
#include "fastcca/linalg/svd.hpp"
#include "fastcca/losses/contraction.hpp"
#include "fastcca/moments/moments.hpp"

namespace fastcca {
namespace {

// Below this share of a column's variance left by the columns before it (see CorrelationCoefficients::pivot),
// products in float32 cost the gradient its fifth digit.
constexpr double kFloatPivot = 1e-2;

// L⁻¹ of S = L Lᵀ for the covariance of one view, and the least L_jj² / S_jj. With the inverse at hand,
// everything but the inversion is products, several times as fast as triangular solves of this size.
template <typename S>
struct Whitener {
    Scratch<S> inverse;
    double pivot;
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

template <typename S>
Whitener<S> whitener(const char* view, double n, const Vector<double>& mean, ConstRef<double> scatter,
                     double reg, double eps) {
    const Index d = scatter.rows();
    Scratch<double> L(d, d);
    L = scatter / (n - 1);
    const double mean_variance = L.trace() / static_cast<double>(d);
    if (reg > 0) {
        L.diagonal().array() += reg;
    } else {
        // A constant column, up to the rounding of its mean: with a variance of 1 and covariances of 0 it
        // takes no part.
        for (Index j = 0; j < d; ++j) {
            const double rounding = 8 * eps * std::abs(mean[j]);
            if (L(j, j) > rounding * rounding) continue;
            L.row(j).setZero();
            L.col(j).setZero();
            L(j, j) = 1;
        }
    }
    const Vector<double> variances = L.diagonal();
    const Index failed = cholesky<double>(L);
    const double pivot = failed >= 0 ? 0 : (L.diagonal().array().square() / variances.array()).minCoeff();
    const double least = 4 * static_cast<double>(d) * std::numeric_limits<double>::epsilon();
    if (!(pivot > least)) not_positive_definite(view, n, d, reg, mean_variance);
    invert_lower<double>(L);
    if constexpr (std::is_same_v<S, double>) {
        return {std::move(L), pivot};
    } else {
        Whitener<S> w{Scratch<S>(d, d), pivot};
        w.inverse = L.cast<S>();
        return w;
    }
}

// Both views' at once where each is small enough to be one task.
template <typename S>
std::vector<Whitener<S>> whiteners(double n, const Vector<double>& mean, ConstRef<double> scatter, Index d1,
                                   double eps, const CorrelationOptions& options) {
    constexpr Index kTask = 1024;
    const Index d2 = scatter.rows() - d1;
    std::vector<Whitener<S>> w;
    for (int view = 0; view < 2; ++view) w.push_back({Scratch<S>(0, 0), 0});
    const auto one = [&](Index view) {
        const Index start = view == 0 ? 0 : d1, d = view == 0 ? d1 : d2;
        w[static_cast<std::size_t>(view)] =
            whitener<S>(view == 0 ? "H1" : "H2", n, mean.segment(start, d), scatter.block(start, start, d, d),
                        view == 0 ? options.reg1 : options.reg2, eps);
    };
    if (std::max(d1, d2) <= kTask) {
        parallel_for(2, one);
    } else {
        one(0);
        one(1);
    }
    return w;
}

// ⟨A, B⟩
template <typename S>
double inner_product(ConstRef<S> A, ConstRef<S> B) {
    constexpr Index kColumns = 64;
    Vector<double> sums((A.cols() + kColumns - 1) / kColumns);
    parallel_for(sums.size(), [&](Index part) {
        const Index start = part * kColumns, width = std::min(kColumns, A.cols() - start);
        double sum = 0;
        for (Index j = start; j < start + width; ++j)
            sum += A.col(j).template cast<double>().dot(B.col(j).template cast<double>());
        sums[part] = sum;
    });
    return sums.sum();
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
    MutableRef<S> cross() const { return A.topRightCorner(d1, A.rows() - d1); }
    // The block below the diagonal from that above it.
    void mirror() const {
        const Index q = A.rows() - d1, side = 64;
        parallel_for((q + side - 1) / side, [&](Index part) {
            const Index j = d1 + part * side, width = std::min(side, A.rows() - j);
            for (Index i = 0; i < d1; i += side) {
                const Index height = std::min(side, d1 - i);
                A.block(j, i, width, height) = A.block(i, j, height, width).transpose();
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
double full_trace(const Scratch<S>& R1, const Scratch<S>& R2, ConstRef<S> Y, ConstRef<S> T,
                  const Blocks<S>* out) {
    const Index p = T.rows(), q = T.cols();
    const Scratch<S> P = contraction_polar<S>(T);
    const double objective = inner_product<S>(P, T);
    if (!out) return objective;
    Scratch<S> PR(p, q), TR(p, q), B(p, q);
    gemm<S>(1, P, Op::kNone, R2, Op::kNone, 0, PR);
    gemm<S>(1, T, Op::kNone, R2, Op::kNone, 0, TR);
    gemm<S>(1, R1, Op::kTranspose, Y, Op::kNone, 0, B);  // S₁₁⁻¹ S₁₂
    gemm<S>(-out->scale, R1, Op::kTranspose, PR, Op::kNone, 0, out->cross());
    known_symmetric_product<S>(-1, B, Op::kNone, out->cross(), Op::kTranspose, 0, out->first());
    known_symmetric_product<S>(out->scale, PR, Op::kTranspose, TR, Op::kNone, 0, out->second());
    out->mirror();
    return objective;
}

// All singular values, F = ‖T‖²:
//     N₁₂ = 2 L₁⁻ᵀ T L₂⁻¹,  N₁₁ = 2 (L₁⁻ᵀT)(L₁⁻ᵀT)ᵀ,  N₂₂ = 2 (T L₂⁻¹)ᵀ(T L₂⁻¹)
template <typename S>
double full_squares(const Scratch<S>& R1, const Scratch<S>& R2, ConstRef<S> T, const Blocks<S>* out) {
    const double objective = inner_product<S>(T, T);
    if (!out) return objective;
    Scratch<S> RT(T.rows(), T.cols()), TR(T.rows(), T.cols());
    gemm<S>(1, R1, Op::kTranspose, T, Op::kNone, 0, RT);
    gemm<S>(1, T, Op::kNone, R2, Op::kNone, 0, TR);
    gemm<S>(-2 * out->scale, R1, Op::kTranspose, TR, Op::kNone, 0, out->cross());
    symmetric_product<S>(2 * out->scale, RT, Op::kNone, 0, out->first());
    symmetric_product<S>(2 * out->scale, TR, Op::kTranspose, 0, out->second());
    out->mirror();
    return objective;
}

// The k largest singular values, F = Σ f(D_i) with f(x) = x or x². With W₁ = L₁⁻ᵀ U and W₂ = L₂⁻ᵀ V (k
// columns),
//     N₁₂ = W₁ f'(D) W₂ᵀ,  N_ii = W_i D f'(D) W_iᵀ
template <typename S>
double truncated(const Scratch<double>& R1, const Scratch<double>& R2, ConstRef<double> T,
                 const CorrelationOptions& options, const Blocks<S>* out) {
    const bool squares = options.objective == CorrelationObjective::kSquares;
    const Svd svd = truncated_svd(T, options.k);
    const double objective = squares ? svd.values.squaredNorm() : svd.values.sum();
    if (!out) return objective;
    const Matrix<S> W1 = product(R1, Op::kTranspose, svd.U).cast<S>();
    const Matrix<S> W2 = product(R2, Op::kTranspose, svd.V).cast<S>();
    // Symmetric products, of W_i scaled by the root of D f'(D).
    const Vector<double> slope = squares ? Vector<double>(2 * svd.values) : Vector<double>::Ones(options.k);
    const Vector<S> root = svd.values.cwiseProduct(slope).cwiseMax(0).cwiseSqrt().template cast<S>();
    symmetric_product<S>(out->scale, W1 * root.asDiagonal(), Op::kNone, 0, out->first());
    symmetric_product<S>(out->scale, W2 * root.asDiagonal(), Op::kNone, 0, out->second());
    gemm<S>(-out->scale, W1 * slope.template cast<S>().asDiagonal(), Op::kNone, W2, Op::kTranspose, 0,
            out->cross());
    out->mirror();
    return objective;
}

// Rows of a block of the pass below: some eight blocks at least, each of whole tiles of columns, and packed
// in the cache of a core.
Index block_rows(Index m) { return std::clamp<Index>((m + 63) / 64 * 8, 64, 256); }

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
    const auto cross = scatter.topRightCorner(d1, d2) / (n - 1);
    CorrelationCoefficients<S> out;
    const Blocks<S> blocks{out.A, d1, static_cast<S>(1 / (n - 1))};
    const auto compute = [&](auto precision, const auto& objective) {
        using W = decltype(precision);
        const auto w = whiteners<W>(n, mean, scatter, d1, eps, options);
        out.pivot = std::min(w[0].pivot, w[1].pivot);
        if (std::is_same_v<S, float> && !(out.pivot > kFloatPivot)) return;
        if (options.gradient) out.A = Scratch<S>(d1 + d2, d1 + d2);
        const Scratch<W>&R1 = w[0].inverse, &R2 = w[1].inverse;
        // Y = L₁⁻¹ S₁₂,  T = Y L₂⁻ᵀ
        Scratch<W> S12(d1, d2), Y(d1, d2), T(d1, d2);
        S12 = cross.template cast<W>();
        gemm<W>(1, R1, Op::kNone, S12, Op::kNone, 0, Y);
        gemm<W>(1, Y, Op::kNone, R2, Op::kTranspose, 0, T);
        out.value = -objective(R1, R2, Y, T, options.gradient ? &blocks : nullptr);
    };
    if (options.k < std::min(d1, d2)) {
        compute(double{}, [&](const auto& R1, const auto& R2, const auto&, const auto& T, auto* to) {
            return truncated<S>(R1, R2, T, options, to);
        });
    } else if (options.objective == CorrelationObjective::kTrace) {
        compute(S{}, [](const auto& R1, const auto& R2, const auto& Y, const auto& T, auto* to) {
            return full_trace<S>(R1, R2, Y, T, to);
        });
    } else {
        compute(S{}, [](const auto& R1, const auto& R2, const auto&, const auto& T, auto* to) {
            return full_squares<S>(R1, R2, T, to);
        });
    }
    return out;
}

template <typename T, typename S>
void correlation_gradients(const MatrixView<T>& H1, const MatrixView<T>& H2, const Vector<double>& mean,
                           ConstRef<S> A, T* G1, T* G2) {
    const Index m = H1.rows, d1 = H1.cols, d2 = H2.cols, d = d1 + d2;
    const Index size = block_rows(m);
    const PackedMatrix<S> A1(A.topRows(d1)), A2(A.bottomRows(d2));
    // mean = high + low, high as precise as the data: what is left after the first subtraction is small.
    const Vector<T> high = mean.template cast<T>();
    const Vector<S> low = (mean - high.template cast<double>()).template cast<S>();
    parallel_for((m + size - 1) / size, [&](Index block) {
        using Packed = PackedMatrix<S>;
        constexpr Index kDepth = MicroTile<S>::kDepth;
        const Index start = block * size, rows = std::min(size, m - start);
        const Index columns = Packed::packed_columns(rows);
        Scratch<S> centred(Packed::packed_size(d, rows), 1);
        // [H₁ H₂]ᵀ, centred: samples as columns, in runs that are contiguous when packed.
        const auto centre = [&](const MatrixView<T>& view, Index at) {
            for (Index j = 0; j < rows; ++j)
                for (Index k = 0, run = 0; k < view.cols; k += run) {
                    run = std::min(view.cols - k, kDepth - (at + k) % kDepth);
                    Eigen::Map<Vector<S>> to(centred.data() + Packed::position(at + k, j, columns), run);
                    const auto write = [&](const auto& from) {
                        to = (from - high.segment(at + k, run)).template cast<S>() - low.segment(at + k, run);
                    };
                    const T* from = view.data + (start + j) * view.row_stride + k * view.col_stride;
                    if (view.col_stride == 1) {  // for packets the compiler has to know
                        write(Eigen::Map<const Vector<T>>(from, run));
                    } else {
                        write(Eigen::Map<const Vector<T>, 0, Eigen::InnerStride<>>(
                            from, run, Eigen::InnerStride<>(view.col_stride)));
                    }
                }
        };
        centre(H1, 0);
        centre(H2, d1);
        // Gᵀ = Aᵀ [H₁ H₂]ᵀ, and A is symmetric
        const auto write = [&](const Packed& part, T* G, Index width) {
            Eigen::Map<Matrix<T>> out(G + start * width, width, rows);
            if constexpr (std::is_same_v<S, T>) {
                part.times(centred.data(), out);
            } else {
                Scratch<S> product(width, rows);
                part.times(centred.data(), product);
                out = product.template cast<T>();
            }
        };
        write(A1, G1, d1);
        write(A2, G2, d2);
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
