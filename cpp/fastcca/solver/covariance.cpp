#include "fastcca/solver/covariance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/solver/rank_rule.hpp"

namespace fastcca {
namespace {

// Above this reciprocal condition of S + rI the rounding in directions that S lacks is too small to matter.
constexpr double kCarried = 1e-11;
// Standard deviations whose squares begin to lose digits.
constexpr double kSmallest = 1e-146;

// A view's covariance in units that make it as well-conditioned as units can. With e the standard deviations
// that the ridge leaves, eⱼ² = Sⱼⱼ + r:
//     S + rI = E M E,    M with a diagonal of ones
struct Scaled {
    Vector<double> deviation;  // √Sⱼⱼ
    Vector<double> e;
    Matrix<double> M;

    Scaled(Matrix<double> S, double r) : deviation(S.diagonal().cwiseSqrt()), M(std::move(S)) {
        e = (M.diagonal().array() + r).sqrt();
        const Vector<double> inverse = e.cwiseInverse();
        M = inverse.asDiagonal() * M * inverse.asDiagonal();
        M.diagonal().setOnes();
    }
    // The matrix of correlations: what M is without the ridge.
    Matrix<double> correlations() const {
        const Vector<double> ratio = e.cwiseQuotient(deviation);
        Matrix<double> C = ratio.asDiagonal() * M * ratio.asDiagonal();
        C.diagonal().setOnes();
        return C;
    }
};

// W with Wᵀ (S + rI) W = I: E⁻¹ L⁻ᵀ from M = L Lᵀ, or E⁻¹ V Λ^-½ from M = V Λ Vᵀ without the dropped
// directions.
struct Whitening {
    Matrix<double> factor;
    bool triangular = false;
    Vector<double> inverse_e;

    // Wᵀ B
    Matrix<double> project(Matrix<double> B) const {
        B = inverse_e.asDiagonal() * B;
        if (triangular) {
            solve_lower<double>(factor, B);
            return B;
        }
        return product(factor, Op::kTranspose, B);
    }
    // W U
    Matrix<double> weights(Matrix<double> U) const {
        if (triangular)
            solve_lower_transposed<double>(factor, U);
        else
            U = product(factor, Op::kNone, U);
        return inverse_e.asDiagonal() * U;
    }
};

// The rank rule for the square roots of eigenvalues.
struct EigenvalueRule {
    double tolerance;  // relative to λmax
    Vector<double> noise;

    // Above this no eigenvalue is dropped.
    double safe(double largest) const { return kMargin * std::max(tolerance * largest, noise.squaredNorm()); }
    std::vector<Index> kept(const Eigendecomposition& e) const {
        const RankRule rule{std::sqrt(tolerance), noise};
        const Vector<double> roots = e.values.reverse().cwiseMax(0.0).cwiseSqrt();
        return rule.kept(roots, [&] { return Matrix<double>(e.vectors.rowwise().reverse()); });
    }
};

// The Cholesky factor of M, and estimates of its extreme eigenvalues; zeros where there is none.
struct Factor {
    Matrix<double> L;
    Extremes extremes{0, 0};
    bool safe(const EigenvalueRule& rule) const { return extremes.smallest > rule.safe(extremes.largest); }
};
Factor factorise(Matrix<double> M) {
    Factor f{std::move(M)};
    if (cholesky<double>(f.L) < 0) f.extremes = extreme_eigenvalues(f.L);
    return f;
}

// Whether k eigenvalues of S or more exceed `threshold`, by k steps of pivoted Cholesky: S = G Gᵀ + E with E
// positive semidefinite, so that λₖ(S) >= λₖ(G Gᵀ) = λmin(GᵀG).
bool has_rank(const Matrix<double>& S, Index k, double threshold) {
    Matrix<double> G = Matrix<double>::Zero(S.rows(), k);
    Vector<double> residual = S.diagonal();
    for (Index t = 0; t < k; ++t) {
        Index pivot = 0;
        const double largest = residual.maxCoeff(&pivot);
        if (!(largest > threshold)) return false;
        // g = (S eₚ - G Gᵀ eₚ) / √rₚ
        G.col(t) = S.col(pivot);
        G.col(t).noalias() -= G.leftCols(t) * G.row(pivot).head(t).transpose();
        G.col(t) /= std::sqrt(largest);
        residual -= G.col(t).cwiseAbs2();
        poll();
    }
    return eigendecomposition(product(G, Op::kTranspose, G)).values[0] > threshold;
}

// Ranks are counted exactly up to this many columns; beyond, where that would cost more than all the rest, a
// ridge and few components spare it.
constexpr Index kCountedColumns = 512;
constexpr Index kFewComponents = 200;

// The rank of the data, whatever the ridge. It is full where λmin(M) exceeds what the ridge gives it by more
// than the estimate's doubt; else the correlations themselves decide. Of many columns whose missing
// directions the ridge carries, and which hold the k components asked for all the same, none is counted.
Index rank_beside_ridge(const Scaled& scaled, double r, const Factor& with_ridge, const EigenvalueRule& rule,
                        Index k) {
    const Index d = scaled.M.rows();
    const double smallest_unit = scaled.e.minCoeff();
    if (with_ridge.extremes.smallest / 4 >
        r / (smallest_unit * smallest_unit) + rule.safe(static_cast<double>(d)))
        return d;
    const Matrix<double> C = scaled.correlations();
    const Factor f = factorise(C);
    if (f.safe(rule)) return d;
    const bool carried = with_ridge.extremes.smallest > kCarried * with_ridge.extremes.largest;
    if (carried && d > kCountedColumns && k <= kFewComponents &&
        has_rank(C, k, rule.safe(static_cast<double>(d))))
        return d;
    return static_cast<Index>(rule.kept(eigendecomposition(C)).size());
}

// `noise`: what the rounding of the data and of the moments makes of columns of unit variance.
void whiten(const Scaled& scaled, double r, const Vector<double>& noise, Index k, Whitening& whitening,
            WhitenedView& view) {
    const Index d = scaled.M.rows();
    const Vector<double> part = scaled.deviation.cwiseQuotient(scaled.e);  // 1 without a ridge
    const EigenvalueRule rule{rank_tolerance(d), noise.cwiseProduct(part)};
    whitening.inverse_e = scaled.e.cwiseInverse();
    Factor f = factorise(scaled.M);
    view.rank = d;
    if (r > 0) view.rank = rank_beside_ridge(scaled, r, f, {rank_tolerance(d), noise}, k);
    if (f.safe(rule)) {
        view.condition = std::sqrt(f.extremes.condition());
        whitening.factor = std::move(f.L);
        whitening.triangular = true;
        return;
    }
    const Eigendecomposition e = eigendecomposition(scaled.M);
    const std::vector<Index> kept = rule.kept(e);
    const auto count = static_cast<Index>(kept.size());
    const Vector<double> values = e.values.reverse();
    const Matrix<double> vectors = e.vectors.rowwise().reverse();
    view.rank = std::min(view.rank, count);
    view.dropped = count < d;
    for (std::size_t i = 0; i < static_cast<std::size_t>(d) && view.dropped; ++i)
        if (i == kept.size() || kept[i] != static_cast<Index>(i)) {
            view.lost = std::sqrt(std::max(0.0, values[static_cast<Index>(i)]));
            break;
        }
    view.condition = values[d - 1] > 0 ? std::sqrt(values[0] / values[d - 1]) : kInfinity;
    const Vector<double> inverse_root = values(kept).array().rsqrt();
    whitening.factor = vectors(Eigen::all, kept) * inverse_root.asDiagonal();
}

}  // namespace

std::vector<Index> varying_columns(const MomentsView& m, Index start, Index width) {
    std::vector<Index> kept;
    for (Index j = start; j < start + width; ++j)
        if (!is_constant(std::sqrt(m.scatter(j, j)), m.n, m.mean[j], m.eps[j])) kept.push_back(j - start);
    return kept;
}

Matrix<double> scaled_scatter(const MomentsView& m, const std::vector<Index>& rows, Index row0,
                              const std::vector<Index>& cols, Index col0, double divisor) {
    Matrix<double> S(static_cast<Index>(rows.size()), static_cast<Index>(cols.size()));
    for (Index j = 0; j < S.cols(); ++j) {
        const double* from = m.scatter.col(col0 + cols[static_cast<std::size_t>(j)]).data() + row0;
        for (Index i = 0; i < S.rows(); ++i) S(i, j) = from[rows[static_cast<std::size_t>(i)]] / divisor;
    }
    return S;
}

Matrix<double> covariance(const MomentsView& m, const std::vector<Index>& rows, Index row0,
                          const std::vector<Index>& cols, Index col0) {
    // S = scatter / (n - 1)
    return scaled_scatter(m, rows, row0, cols, col0, m.n - 1);
}

double rank_tolerance(Index d) { return std::numeric_limits<double>::epsilon() * static_cast<double>(d); }

namespace {

// The rank rule and the whitening of columns start … start + width - 1, for k components.
void whiten_columns(const MomentsView& m, Index start, Index width, double r, Index k,
                    const std::string& name, Whitening& whitening, WhitenedView& view) {
    view.width = width;
    if (!m.scatter.diagonal().segment(start, width).allFinite()) throw_overflow(name);
    view.kept = varying_columns(m, start, width);
    if (view.kept.empty()) throw_all_constant(name);
    const Scaled scaled(covariance(m, view.kept, start, view.kept, start), r);
    Vector<double> noise(static_cast<Index>(view.kept.size()));
    for (Index i = 0; i < noise.size(); ++i) {
        const Index j = start + view.kept[static_cast<std::size_t>(i)];
        // Entries of the matrix of correlations are known to √(ρᵢρⱼ), so that λ = vᵀ C v is to
        // (Σ |vⱼ| √ρⱼ)².
        noise[i] =
            entry_noise(std::sqrt(m.scatter(j, j)), m.n, m.mean[j], m.eps[j]) + std::sqrt(m.rounding[j]);
    }
    if (scaled.deviation.minCoeff() < kSmallest) throw_underflow(name);
    whiten(scaled, r, noise, k, whitening, view);
    view.to_weights = [&whitening](const Matrix<double>& U) { return whitening.weights(U); };
}

}  // namespace

ViewWhitening whiten_moments(const MomentsView& m, Index start, Index width, double reg,
                             const std::string& name) {
    WhitenedView view;
    Whitening whitening;
    whiten_columns(m, start, width, reg, width, name, whitening, view);
    const Index directions = whitening.factor.cols();
    const Matrix<double> W = view.to_weights(Matrix<double>::Identity(directions, directions));
    ViewWhitening found{Matrix<double>::Zero(width, directions), view.rank, view.condition, view.dropped,
                        view.lost};
    for (std::size_t i = 0; i < view.kept.size(); ++i)
        found.weights.row(view.kept[i]) = W.row(static_cast<Index>(i));
    if (!found.weights.allFinite())
        throw NumericalError("the weights of " + name + " overflow: scale its columns up");
    return found;
}

Solution solve_moments(const MomentsView& m, Index p, Index n_components, Penalty reg) {
    std::array<WhitenedView, 2> views;
    std::array<Whitening, 2> whitening;
    const Index q = m.mean.size() - p;
    whiten_columns(m, 0, p, reg.x, n_components, "X", whitening[0], views[0]);
    whiten_columns(m, p, q, reg.y, n_components, "y", whitening[1], views[1]);
    const std::array<Index, 2> start{0, p};
    // T = W₁ᵀ S₁₂ W₂ = (W₂ᵀ (W₁ᵀ S₁₂)ᵀ)ᵀ
    Matrix<double> T = whitening[0].project(covariance(m, views[0].kept, start[0], views[1].kept, start[1]));
    T = whitening[1].project(T.transpose()).transpose().eval();
    return solve_whitened(T, views[0], views[1], n_components);
}

}  // namespace fastcca
