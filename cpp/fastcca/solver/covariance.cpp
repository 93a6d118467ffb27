#include "fastcca/solver/covariance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// The estimates of extreme eigenvalues are commonly right within a factor of two: further than this from the
// threshold they are believed, nearer to it the eigenvalues themselves decide.
constexpr double kMargin = 16;

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
        Matrix<double> out(factor.cols(), B.cols());
        gemm<double>(1.0, factor, Op::kTranspose, B, Op::kNone, 0.0, out);
        return out;
    }
    // W U
    Matrix<double> weights(Matrix<double> U) const {
        if (triangular) {
            solve_lower_transposed<double>(factor, U);
            return U;
        }
        Matrix<double> out(factor.rows(), U.cols());
        gemm<double>(1.0, factor, Op::kNone, U, Op::kNone, 0.0, out);
        return out;
    }
};

// Whitens S + rI by Cholesky where S is of full rank by a safe margin; says whether it was.
bool whiten_by_cholesky(const Matrix<double>& S, double r, double tolerance, Whitening& whitening,
                        WhitenedView& view) {
    const auto factorise = [&S](double ridge, Matrix<double>& L) {
        L = S;
        L.diagonal().array() += ridge;
        return cholesky<double>(L) < 0;
    };
    Matrix<double> L;
    if (!factorise(r, L)) return false;
    const Extremes e = extreme_eigenvalues(L);
    const double safe = kMargin * tolerance * e.largest;
    bool full_rank = e.smallest > safe;
    // With a ridge the rank is still that of S: seen from λmin(S + rI) where r is the smaller part of it,
    // else from a factorisation of S itself.
    if (full_rank && r > 0 && !(e.smallest / 4 > r + safe)) {
        Matrix<double> L0;
        full_rank = factorise(0, L0);
        if (full_rank) {
            const Extremes e0 = extreme_eigenvalues(L0);
            full_rank = e0.smallest > kMargin * tolerance * e0.largest;
        }
    }
    if (!full_rank) return false;
    view.rank = S.rows();
    view.condition = std::sqrt(e.condition());
    whitening = {std::move(L), true};
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
    const auto scale = (e.values.tail(view.rank).array() + r).rsqrt().matrix();
    whitening = {e.vectors.rightCols(view.rank) * scale.asDiagonal(), false};
}

}  // namespace

std::vector<Index> varying_columns(const MomentsView& m, Index start, Index width) {
    std::vector<Index> kept;
    for (Index j = start; j < start + width; ++j)
        if (!is_constant(m.scatter(j, j), m.n, m.mean[j], m.eps)) kept.push_back(j - start);
    return kept;
}

Matrix<double> covariance(const MomentsView& m, const std::vector<Index>& rows, Index row0,
                          const std::vector<Index>& cols, Index col0) {
    Matrix<double> S(static_cast<Index>(rows.size()), static_cast<Index>(cols.size()));
    // S = scatter / (n - 1)
    for (Index j = 0; j < S.cols(); ++j) {
        const double* from = m.scatter.col(col0 + cols[static_cast<std::size_t>(j)]).data() + row0;
        for (Index i = 0; i < S.rows(); ++i) S(i, j) = from[rows[static_cast<std::size_t>(i)]] / (m.n - 1);
    }
    return S;
}

double rank_tolerance(Index d, double eps) {
    return std::max(std::numeric_limits<double>::epsilon() * static_cast<double>(d), eps);
}

Solution solve_moments(const MomentsView& m, Index p, Index n_components, Penalty reg) {
    std::array<WhitenedView, 2> views;
    std::array<Whitening, 2> whitening;
    std::array<bool, 2> done;
    std::array<Matrix<double>, 2> S;
    const std::array<double, 2> r{reg.x, reg.y};
    const std::array<Index, 2> start{0, p}, width{p, m.mean.size() - p};
    for (std::size_t v = 0; v < 2; ++v) {
        views[v].width = width[v];
        views[v].kept = varying_columns(m, start[v], width[v]);
        if (views[v].kept.empty()) throw_all_constant(v == 0 ? "X" : "y");
        S[v] = covariance(m, views[v].kept, start[v], views[v].kept, start[v]);
    }
    parallel_for(2, [&](Index v_) {
        const auto v = static_cast<std::size_t>(v_);
        done[v] = whiten_by_cholesky(S[v], r[v], rank_tolerance(S[v].rows(), m.eps), whitening[v], views[v]);
    });
    for (std::size_t v = 0; v < 2; ++v) {
        if (!done[v])
            whiten_by_eigenvalues(S[v], r[v], rank_tolerance(S[v].rows(), m.eps), whitening[v], views[v]);
        S[v].resize(0, 0);
        views[v].to_weights = [&w = whitening[v]](const Matrix<double>& U) { return w.weights(U); };
    }
    // T = W₁ᵀ S₁₂ W₂ = (W₂ᵀ (W₁ᵀ S₁₂)ᵀ)ᵀ
    Matrix<double> T = whitening[0].project(covariance(m, views[0].kept, start[0], views[1].kept, start[1]));
    T = whitening[1].project(T.transpose()).transpose().eval();
    return solve_whitened(T, views[0], views[1], n_components);
}

}  // namespace fastcca
