#include "fastcca/solver/covariance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// Above this reciprocal condition of S + rI the rounding in directions that S lacks is too small to matter.
constexpr double kCarried = 1e-11;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A whitened covariance: W with Wᵀ (S + rI) W = I, as L⁻ᵀ from S + rI = L Lᵀ or as V (Λ + r)^-½ from
// S = V Λ Vᵀ without the dropped directions.
struct Whitening {
    Matrix<double> factor;
    bool triangular = false;

    // Wᵀ B
    Matrix<double> project(Matrix<double> B) const {
        if (triangular) {
            solve_lower<double>(factor, B);
            return B;
        }
        return product(factor, Op::kTranspose, B);
    }
    // W U
    Matrix<double> weights(Matrix<double> U) const {
        if (triangular) {
            solve_lower_transposed<double>(factor, U);
            return U;
        }
        return product(factor, Op::kNone, U);
    }
};

// The Cholesky factor of S + rI, and estimates of its extreme eigenvalues; neither where there is none.
struct Factor {
    Matrix<double> L;
    Extremes extremes{0, 0};
    bool safe(double tolerance) const { return extremes.smallest > kMargin * tolerance * extremes.largest; }
};
Factor factorise(const Matrix<double>& S, double r) {
    Factor f{S};
    f.L.diagonal().array() += r;
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

// Whitens S + rI by Cholesky where S is of full rank by a safe margin, or where a ridge carries what is
// missing and the k components asked for are there all the same; says whether it did.
bool whiten_by_cholesky(const Matrix<double>& S, double r, double tolerance, Index k, Whitening& whitening,
                        WhitenedView& view) {
    Factor f = factorise(S, r);
    if (!f.safe(tolerance)) return false;
    // With a ridge the rank is still that of S. It is full where λmin(S + rI) exceeds r by more than the
    // estimate's doubt; else a factorisation of S itself tells.
    const double threshold = kMargin * tolerance * f.extremes.largest;
    if (r > 0 && !(f.extremes.smallest / 4 > r + threshold)) {
        const bool carried = S.rows() > kCountedColumns && k <= kFewComponents && f.safe(kCarried) &&
                             has_rank(S, k, threshold);
        if (!carried && !factorise(S, 0).safe(tolerance)) return false;
    }
    view.rank = S.rows();
    view.condition = std::sqrt(f.extremes.condition());
    whitening = {std::move(f.L), true};
    return true;
}

void whiten_by_eigenvalues(const Matrix<double>& S, double r, double tolerance, Whitening& whitening,
                           WhitenedView& view) {
    const Eigendecomposition e = eigendecomposition(S);
    const Index d = S.rows();
    const double largest = e.values[d - 1], smallest = e.values[0];
    view.rank = (e.values.array() >= tolerance * largest).count();
    view.dropped = view.rank < d && smallest + r < tolerance * (largest + r);
    view.condition = smallest + r > 0 ? std::sqrt((largest + r) / (smallest + r)) : kInfinity;
    // W = V (Λ + r)^-½
    const Vector<double> scale = (e.values.tail(view.rank).array() + r).sqrt().inverse();
    whitening = {e.vectors.rightCols(view.rank) * scale.asDiagonal(), false};
}

}  // namespace

std::vector<Index> varying_columns(const MomentsView& m, Index start, Index width) {
    std::vector<Index> kept;
    for (Index j = start; j < start + width; ++j)
        if (!is_constant(m.scatter(j, j), m.n, m.mean[j], m.eps[j])) kept.push_back(j - start);
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

double rank_tolerance(Index d, double eps) {
    return std::max(std::numeric_limits<double>::epsilon() * static_cast<double>(d), eps);
}

Solution solve_moments(const MomentsView& m, Index p, Index n_components, Penalty reg) {
    std::array<WhitenedView, 2> views;
    std::array<Whitening, 2> whitening;
    const std::array<double, 2> r{reg.x, reg.y};
    const std::array<Index, 2> start{0, p}, width{p, m.mean.size() - p};
    for (std::size_t v = 0; v < 2; ++v) {
        WhitenedView& view = views[v];
        view.width = width[v];
        if (!m.scatter.diagonal().segment(start[v], width[v]).allFinite()) throw_overflow(v == 0 ? "X" : "y");
        view.kept = varying_columns(m, start[v], width[v]);
        if (view.kept.empty()) throw_all_constant(v == 0 ? "X" : "y");
        const Matrix<double> S = covariance(m, view.kept, start[v], view.kept, start[v]);
        const double tolerance = rank_tolerance(S.rows(), m.eps.segment(start[v], width[v]).maxCoeff());
        if (!whiten_by_cholesky(S, r[v], tolerance, n_components, whitening[v], view))
            whiten_by_eigenvalues(S, r[v], tolerance, whitening[v], view);
        view.to_weights = [&w = whitening[v]](const Matrix<double>& U) { return w.weights(U); };
    }
    // T = W₁ᵀ S₁₂ W₂ = (W₂ᵀ (W₁ᵀ S₁₂)ᵀ)ᵀ
    Matrix<double> T = whitening[0].project(covariance(m, views[0].kept, start[0], views[1].kept, start[1]));
    T = whitening[1].project(T.transpose()).transpose().eval();
    return solve_whitened(T, views[0], views[1], n_components);
}

}  // namespace fastcca
