#include "fastcca/correlation/correlation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/correlation/contraction.hpp"
#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/packed_product.hpp"
#include "fastcca/linalg/qr.hpp"
#include "fastcca/linalg/svd.hpp"
#include "fastcca/moments/moments.hpp"
#include "fastcca/solver/centring.hpp"
#include "fastcca/solver/covariance.hpp"
#include "fastcca/solver/data_solvers.hpp"
#include "fastcca/solver/rank_rule.hpp"

namespace fastcca {
namespace {

// Where all correlations are 1 but for this, the two terms of the gradient cancel in float32.
constexpr double kNearlyEqual = 1e-3;

// Up to this size, rows times columns squared, float32 data are computed in double.
constexpr double kTiny = 1 << 15;

// What Cholesky factors of the covariances give is taken where every column keeps more than this of its
// variance when the columns before it are regressed out: below, products in float32 cost the gradient its
// fifth digit, moments in double its tenth. Of float32 data fewer digits are asked.
template <typename S>
constexpr double kPivot = sizeof(S) == 4 ? 1e-2 : 1e-5;
constexpr double kPivotOfFloatData = 1e-6;

// A k-th singular value below this is too near to zero for its vectors to be taken from there.
template <typename S>
constexpr double kLeastValue = sizeof(S) == 4 ? 1e-4 : 1e-7;

// L⁻¹ of S = L Lᵀ for the covariance of one view, and the least L_jj² / S_jj (0 where there is no L). With
// the inverse at hand, everything but the inversion is products, several times as fast as triangular solves
// of this size.
template <typename S>
struct Whitener {
    Scratch<S> inverse;
    double pivot;
};

template <typename S>
Whitener<S> whitener(double n, const Vector<double>& mean, ConstRef<double> scatter, double reg, double eps,
                     double least_pivot) {
    const Index d = scatter.rows();
    Scratch<double> L(d, d);
    L = scatter / (n - 1);
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
    if (!(pivot > least_pivot)) return {Scratch<S>(0, 0), 0};
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
                                   double eps, double least_pivot, const CorrelationOptions& options) {
    constexpr Index kTask = 1024;
    const Index d2 = scatter.rows() - d1;
    std::vector<Whitener<S>> w;
    for (int view = 0; view < 2; ++view) w.push_back({Scratch<S>(0, 0), 0});
    const auto one = [&](Index view) {
        const Index start = view == 0 ? 0 : d1, d = view == 0 ? d1 : d2;
        w[static_cast<std::size_t>(view)] =
            whitener<S>(n, mean.segment(start, d), scatter.block(start, start, d, d),
                        view == 0 ? options.reg1 : options.reg2, eps, least_pivot);
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
// all but cancel, its error cancels with them. Nothing is returned where T is not safely of full rank.
template <typename S>
std::optional<double> full_trace(const Scratch<S>& R1, const Scratch<S>& R2, ConstRef<S> Y, ConstRef<S> T,
                                 const Blocks<S>* out) {
    const Index p = T.rows(), q = T.cols();
    const std::optional<Scratch<S>> polar = contraction_polar<S>(T);
    if (!polar) return std::nullopt;
    const Scratch<S>& P = *polar;
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
std::optional<double> full_squares(const Scratch<S>& R1, const Scratch<S>& R2, ConstRef<S> T,
                                   const Blocks<S>* out) {
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

// F = Σ f(D_i) over singular triplets of T, with f(x) = x or x². With W₁ = L₁⁻ᵀ U and W₂ = L₂⁻ᵀ V, a column
// each,
//     N₁₂ = W₁ f'(D) W₂ᵀ,  N_ii = W_i D f'(D) W_iᵀ
template <typename S>
double objective_of(const Matrix<double>& W1, const Vector<double>& D, const Matrix<double>& W2, bool squares,
                    const Blocks<S>* out) {
    const double objective = squares ? D.squaredNorm() : D.sum();
    if (!out) return objective;
    // Symmetric products, of W_i scaled by the root of D f'(D).
    const Vector<double> slope = squares ? Vector<double>(2 * D) : Vector<double>::Ones(D.size());
    const Vector<S> root = D.cwiseProduct(slope).cwiseMax(0).cwiseSqrt().template cast<S>();
    const Matrix<S> V1 = W1.cast<S>(), V2 = W2.cast<S>();
    symmetric_product<S>(out->scale, V1 * root.asDiagonal(), Op::kNone, 0, out->first());
    symmetric_product<S>(out->scale, V2 * root.asDiagonal(), Op::kNone, 0, out->second());
    gemm<S>(-out->scale, V1 * slope.template cast<S>().asDiagonal(), Op::kNone, V2, Op::kTranspose, 0,
            out->cross());
    out->mirror();
    return objective;
}

// The k largest singular values. Nothing is returned where the last is not safely above zero.
template <typename S>
std::optional<double> truncated(const Scratch<double>& R1, const Scratch<double>& R2, ConstRef<double> T,
                                const CorrelationOptions& options, const Blocks<S>* out) {
    const Svd svd = truncated_svd(T, options.k);
    if (!(svd.values[options.k - 1] > kLeastValue<S>)) return std::nullopt;
    return objective_of<S>(product(R1, Op::kTranspose, svd.U), svd.values, product(R2, Op::kTranspose, svd.V),
                           options.squares(), out);
}

// Rows of a block of the pass below: some eight blocks at least, each of whole tiles of columns, and packed
// in the cache of a core.
Index block_rows(Index m) { return std::clamp<Index>((m + 63) / 64 * 8, 64, 256); }

// The means of the stacked columns, in double whatever the data.
template <typename T>
Vector<double> exact_means(const MatrixView<T>& H1, const MatrixView<T>& H2) {
    constexpr Index kColumns = 16;
    Vector<double> mean(H1.cols + H2.cols);
    const auto n = static_cast<double>(H1.rows);
    parallel_for((mean.size() + kColumns - 1) / kColumns, [&](Index part) {
        for (Index j = part * kColumns; j < std::min(mean.size(), (part + 1) * kColumns); ++j) {
            const auto column = j < H1.cols ? H1.map().col(j) : H2.map().col(j - H1.cols);
            const Vector<double> x = column.template cast<double>();
            const double first = x.sum() / n;
            mean[j] = first + (x.array() - first).sum() / n;  // what rounding left of the first
        }
    });
    return mean;
}

// Moments of two stacked views, the first of d1 columns, of data known to `eps`; the scatter is known to
// `rounding`.
struct Pair {
    double n;
    const Vector<double>& mean;
    ConstRef<double> scatter;
    Index d1;
    double eps, rounding;

    Index d2() const { return scatter.rows() - d1; }
    Index start(int view) const { return view == 0 ? 0 : d1; }
    Index width(int view) const { return view == 0 ? d1 : d2(); }
    Vector<double> variances(int view) const {
        return scatter.diagonal().segment(start(view), width(view)) / (n - 1);
    }

    bool all_constant(int view) const {
        for (Index j = start(view); j < start(view) + width(view); ++j)
            if (!is_constant(std::sqrt(scatter(j, j)), n, mean[j], eps)) return false;
        return true;
    }
};

// Why the factors below do not do.
enum class Trouble { kNone, kIllConditioned, kLowRank };

// By the Cholesky factors of the covariances, in S but for these. Where the covariances are too
// ill-conditioned or T is not safely of full rank, only that is reported.
template <typename S>
Trouble by_factors(const Pair& moments, double least_pivot, const CorrelationOptions& options,
                   CorrelationCoefficients<S>& result) {
    const Index d1 = moments.d1, d2 = moments.d2(), most = std::min(d1, d2);
    const auto cross = moments.scatter.topRightCorner(d1, d2) / (moments.n - 1);
    CorrelationCoefficients<S> out;
    const Blocks<S> blocks{out.A, d1, static_cast<S>(1 / (moments.n - 1))};
    const auto compute = [&](auto precision, const auto& objective) {
        using W = decltype(precision);
        const auto w =
            whiteners<W>(moments.n, moments.mean, moments.scatter, d1, moments.eps, least_pivot, options);
        const double pivot = std::min(w[0].pivot, w[1].pivot);
        if (!(pivot > 0)) return Trouble::kIllConditioned;
        out.precision = moments.rounding / pivot;
        if (options.gradient) out.A = Scratch<S>(d1 + d2, d1 + d2);
        const Scratch<W>&R1 = w[0].inverse, &R2 = w[1].inverse;
        // Y = L₁⁻¹ S₁₂,  T = Y L₂⁻ᵀ
        Scratch<W> S12(d1, d2), Y(d1, d2), T(d1, d2);
        S12 = cross.template cast<W>();
        gemm<W>(1, R1, Op::kNone, S12, Op::kNone, 0, Y);
        gemm<W>(1, Y, Op::kNone, R2, Op::kTranspose, 0, T);
        const std::optional<double> value = objective(R1, R2, Y, T, options.gradient ? &blocks : nullptr);
        if (!value) return Trouble::kLowRank;
        const auto k = static_cast<double>(options.k);
        if (std::is_same_v<S, float> && options.gradient && k - *value < kNearlyEqual * k)
            return Trouble::kIllConditioned;
        out.value = -*value;
        result = std::move(out);
        return Trouble::kNone;
    };
    if (!options.squares() && moments.n - 1 < static_cast<double>(options.k)) return Trouble::kLowRank;
    if (options.k < most) {
        return compute(double{}, [&](const auto& R1, const auto& R2, const auto&, const auto& T, auto* to) {
            return truncated<S>(R1, R2, T, options, to);
        });
    }
    if (options.squares()) {
        return compute(S{}, [](const auto& R1, const auto& R2, const auto&, const auto& T, auto* to) {
            return full_squares<S>(R1, R2, T, to);
        });
    }
    return compute(S{}, [](const auto& R1, const auto& R2, const auto& Y, const auto& T, auto* to) {
        return full_trace<S>(R1, R2, Y, T, to);
    });
}

[[noreturn]] void not_positive_definite(const Pair& moments, int view) {
    const Index d = moments.width(view);
    const double mean_variance = moments.variances(view).mean();
    std::ostringstream text;
    text << (view == 0 ? "H1" : "H2") << ": the covariance of its " << d << " columns over " << moments.n
         << " rows with reg=0 is not positive definite to working precision";
    if (moments.n <= static_cast<double>(d)) text << " (fewer rows than columns)";
    text << "; a reg of " << (mean_variance > 0 ? 1e-4 * mean_variance : 1e-4)
         << " or more makes it well-posed";
    throw NumericalError(text.str());
}

// By a solution of CCA, whatever the rank and the condition: directions that a view lacks are left out of it.
// solve() gives the solution. Singular values that are zero but for rounding take no part: their vectors are
// arbitrary, and without them the subgradient is that of least norm.
template <typename Solve>
CorrelationCoefficients<double> by_solution(const Pair& moments, const CorrelationOptions& options,
                                            const Solve& solve) {
    const Index d = moments.scatter.rows();
    CorrelationCoefficients<double> out;
    if (options.gradient) out.A = Scratch<double>(d, d);
    if (moments.all_constant(0) || moments.all_constant(1)) {
        out.A.setZero();
        return out;
    }
    const Solution s = solve(Penalty{options.reg1, options.reg2});
    for (int view = 0; view < 2; ++view) {
        const double reg = view == 0 ? options.reg1 : options.reg2;
        if (!s.dropped[static_cast<std::size_t>(view)]) continue;
        if (reg == 0) not_positive_definite(moments, view);
        // What moments cannot tell from zero may matter next to so small a ridge.
        out.precision = std::max(out.precision, moments.rounding * moments.variances(view).maxCoeff() / reg);
    }
    const Vector<double>& D = s.singular_values;
    const double zero = 16 * kEps * static_cast<double>(std::max(moments.d1, moments.d2()));
    Index rank = 0;
    while (rank < D.size() && D[rank] > zero) ++rank;
    const Blocks<double> blocks{out.A, moments.d1, 1 / (moments.n - 1)};
    out.value = -objective_of<double>(s.x_weights.leftCols(rank), D.head(rank), s.y_weights.leftCols(rank),
                                      options.squares(), options.gradient ? &blocks : nullptr);
    // Entries of the scatter are known to `rounding`, relative to the variances: on columns of unit variance
    // a weight of norm w sees w² of that.
    for (int view = 0; view < 2 && rank > 0; ++view) {
        const Matrix<double>& W = view == 0 ? s.x_weights : s.y_weights;
        const Matrix<double> scaled = moments.variances(view).cwiseSqrt().asDiagonal() * W.leftCols(rank);
        out.precision = std::max(out.precision, moments.rounding * scaled.colwise().squaredNorm().maxCoeff());
    }
    return out;
}

// One view of the triangle that an orthogonal transformation of the centred rows left.
CentredView view_of_factor(ConstRef<double> R, const Pair& moments, int which) {
    CentredView view;
    view.name = which == 0 ? "H1" : "H2";
    view.width = R.cols();
    view.rows = R.rows();
    view.n = moments.n;
    Matrix<double> columns(R.rows(), R.cols());
    std::vector<double> norms;
    for (Index j = 0; j < R.cols(); ++j) {
        const double norm = R.col(j).stableNorm();
        if (is_constant(norm, moments.n, moments.mean[moments.start(which) + j], moments.eps)) continue;
        columns.col(view.columns()) = R.col(j) / norm;
        view.kept.push_back(j);
        norms.push_back(norm);
    }
    if (view.kept.empty()) throw_all_constant(view.name);
    view.norms = Eigen::Map<const Vector<double>>(norms.data(), view.columns());
    view.noise = Vector<double>::Zero(view.columns());  // the numbers as they are
    view.fill = [columns = std::move(columns), d = view.columns()](Index start, Index count,
                                                                   MutableRef<double> out) {
        out = columns.block(start, 0, count, d);
    };
    return view;
}

}  // namespace

CorrelationCoefficients<double> correlation_coefficients(double n, const Vector<double>& mean,
                                                         ConstRef<double> scatter, Index d1, double eps,
                                                         double rounding, const CorrelationOptions& options,
                                                         ConstRef<double> factor) {
    const Pair moments{n, mean, scatter, d1, eps, rounding};
    CorrelationCoefficients<double> out;
    if (by_factors<double>(moments, kPivot<double>, options, out) == Trouble::kNone) return out;
    if (factor.rows() > 0) {
        out = by_solution(moments, options, [&](Penalty reg) {
            const Index d2 = moments.d2();
            return solve_qr(view_of_factor(factor.leftCols(d1), moments, 0),
                            view_of_factor(factor.rightCols(d2), moments, 1), options.k, reg);
        });
        out.precision = 0;  // the moments' does not matter
        out.by_factors = false;
        return out;
    }
    out = by_solution(moments, options, [&](Penalty reg) {
        const Matrix<double> S = scatter;
        const Vector<double> e = Vector<double>::Constant(mean.size(), eps);
        const Vector<double> r = Vector<double>::Constant(mean.size(), rounding);
        const MomentsView view{n,
                               {mean.data(), mean.size()},
                               {S.data(), S.rows(), S.cols()},
                               {e.data(), e.size()},
                               {r.data(), r.size()}};
        return solve_moments(view, d1, options.k, reg);
    });
    out.by_factors = false;
    return out;
}

template <typename T>
Matrix<double> correlation_factor(const MatrixView<T>& H1, const MatrixView<T>& H2,
                                  const Vector<double>& mean) {
    const Index m = H1.rows, d1 = H1.cols, d2 = H2.cols;
    const auto fill = [&](Index start, Index count, MutableRef<double> out) {
        out.leftCols(d1) = H1.middle_rows(start, count).map().template cast<double>();
        out.rightCols(d2) = H2.middle_rows(start, count).map().template cast<double>();
        out.rowwise() -= mean.transpose();
    };
    if (m > d1 + d2) return qr_r(m, d1 + d2, fill);
    Matrix<double> R(m, d1 + d2);
    if (m > 0) fill(0, m, R);
    return R;
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
    const Index blocks = (m + size - 1) / size;
    std::vector<char> overflows(static_cast<std::size_t>(blocks), 0);
    parallel_for(blocks, [&](Index block) {
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
                        if constexpr (std::is_same_v<S, T>) {
                            to = (from - high.segment(at + k, run)) - low.segment(at + k, run);
                        } else {
                            to = from.template cast<S>() - mean.segment(at + k, run);
                        }
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
            if (!out.allFinite()) overflows[static_cast<std::size_t>(block)] = 1;
        };
        write(A1, G1, d1);
        write(A2, G2, d2);
    });
    if (std::any_of(overflows.begin(), overflows.end(), [](char c) { return c != 0; }))
        throw NumericalError(std::string("the gradient of the correlation loss overflows ") +
                             (std::is_same_v<T, float> ? "float32" : "float64") +
                             ": the columns of H1 or H2 vary too little; scale them up or take a larger reg");
}

template <typename T>
double correlation_loss(const MatrixView<T>& H1, const MatrixView<T>& H2, const CorrelationOptions& options,
                        T* G1, T* G2) {
    MomentsAccumulator<T> accumulator(H1.cols + H2.cols);
    accumulator.add({H1, H2});
    Scratch<double> scatter(H1.cols + H2.cols, H1.cols + H2.cols);
    MomentSums sums = accumulator.finish(scatter);
    Vector<double> mean = sums.shift + sums.offset;
    constexpr double eps = std::numeric_limits<T>::epsilon();
    const Pair moments{sums.n, mean, scatter, H1.cols, eps, eps};
    const auto finish = [&](const auto& c) {
        using S = typename std::decay_t<decltype(c.A)>::Scalar;
        if (options.gradient) correlation_gradients<T, S>(H1, H2, mean, c.A, G1, G2);
        return c.value;
    };
    CorrelationCoefficients<T> quick;
    // Few rows of float32 can have correlations near 1 in one view's directions alone; double costs nothing
    // there.
    const bool tiny = static_cast<double>(H1.rows) * static_cast<double>(mean.size() * mean.size()) < kTiny;
    Trouble trouble = std::is_same_v<T, float> && tiny ? Trouble::kIllConditioned
                                                       : by_factors<T>(moments, kPivot<T>, options, quick);
    if (trouble == Trouble::kNone) return finish(quick);
    CorrelationCoefficients<double> c;
    if constexpr (std::is_same_v<T, float>) {
        if (trouble == Trouble::kIllConditioned) {
            // products of float32 are not enough
            MomentsAccumulator<float, double> precise(mean.size());
            precise.add({H1, H2});
            sums = precise.finish(scatter);
            mean = sums.shift + sums.offset;
            trouble = by_factors<double>(moments, kPivotOfFloatData, options, c);
            if (trouble == Trouble::kNone) return finish(c);
        }
    }
    mean = exact_means(H1, H2);
    return finish(by_solution(moments, options, [&](Penalty reg) {
        // A loss is a function of the numbers as they are: what rounding made of them is no matter of its.
        const auto exactly = [](const MatrixView<T>& H, const char* name) {
            CentredView view = centre(H, Vector<double>(), name);
            view.noise.setZero();
            return view;
        };
        return solve_qr(exactly(H1, "H1"), exactly(H2, "H2"), options.k, reg);
    }));
}

#define FASTCCA_INSTANTIATE(T)                                                                \
    template Matrix<double> correlation_factor<T>(const MatrixView<T>&, const MatrixView<T>&, \
                                                  const Vector<double>&);                     \
    template double correlation_loss<T>(const MatrixView<T>&, const MatrixView<T>&,           \
                                        const CorrelationOptions&, T*, T*);
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
