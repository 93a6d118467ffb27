#include "fastcca/solver/cross_validation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/svd.hpp"
#include "fastcca/solver/rank_rule.hpp"

namespace fastcca {
namespace {

// Total minus fold leaves rounding of the total behind: this fraction of it, or less, counts as zero.
constexpr double kCancellation = 8;

struct FoldView {
    std::vector<Index> kept;
    Vector<double> values;    // λ of the training covariance, those not dropped
    Matrix<double> vectors;   // V
    Matrix<double> held_out;  // scatterᵢᵢ / n of the held-out rows, kept columns
};

struct FoldPair {
    std::array<FoldView, 2> views;
    Matrix<double> cross;     // V₁ᵀ S₁₂ V₂ of the training rows
    Matrix<double> held_out;  // scatter₁₂ / n of the held-out rows, kept columns
};

// Rows and columns of the held-out covariance that are constant there hold rounding alone: exact zeros
// instead.
void clear_constant(const MomentsView& m, Index start, const std::vector<Index>& kept,
                    MutableRef<double> rows) {
    for (std::size_t i = 0; i < kept.size(); ++i) {
        const Index j = start + kept[i];
        if (is_constant(std::sqrt(m.scatter(j, j)), m.n, m.mean[j], m.eps[j]))
            rows.row(static_cast<Index>(i)).setZero();
    }
}

FoldView decompose(const Fold& fold, Eigen::Map<const Vector<double>> total_variation, Index start,
                   Index width, const char* name) {
    const MomentsView& m = fold.train;
    FoldView view;
    for (const Index j : varying_columns(m, start, width))
        if (m.scatter(start + j, start + j) > kCancellation * kEps * total_variation[start + j])
            view.kept.push_back(j);
    if (view.kept.empty()) throw_all_constant(std::string("the training part of a fold of ") + name);

    const Matrix<double> S = covariance(m, view.kept, start, view.kept, start);
    const Eigendecomposition e = eigendecomposition(S);
    const Index d = S.rows();
    const double cancelled =
        kCancellation * kEps * total_variation.segment(start, width).maxCoeff() / (m.n - 1);
    double rounding = 0;
    for (Index i = 0; i < d; ++i)
        rounding = std::max(rounding, m.rounding[start + view.kept[static_cast<std::size_t>(i)]] * S(i, i));
    const double threshold = std::max(
        rank_tolerance(d) * e.values[d - 1] + rounding * std::sqrt(static_cast<double>(d)), cancelled);
    const Index rank = std::max<Index>(1, (e.values.array() >= threshold).count());
    view.values = e.values.tail(rank);
    view.vectors = e.vectors.rightCols(rank);

    const MomentsView& h = fold.held_out;
    // over n, which weights may leave at 1 or below: correlations are the same whatever the divisor
    view.held_out = scaled_scatter(h, view.kept, start, view.kept, start, h.n);
    clear_constant(h, start, view.kept, view.held_out);
    view.held_out.triangularView<Eigen::StrictlyUpper>() = view.held_out.transpose();
    return view;
}

// Variances of the scores, wᵀ S w for each column, with zeros where only rounding is left of larger terms.
Vector<double> score_variances(const Matrix<double>& S, const Matrix<double>& W) {
    const Vector<double> variances = W.cwiseProduct(product(S, Op::kNone, W)).colwise().sum().transpose();
    // The terms are bounded by (Σ |wᵢ| √Sᵢᵢ)².
    const Vector<double> bounds = (W.cwiseAbs().transpose() * S.diagonal().cwiseSqrt()).cwiseAbs2();
    return (variances.array() > 2 * kCancellation * kEps * bounds.array()).select(variances, 0.0);
}

}  // namespace

std::vector<std::vector<double>> held_out_correlations(const std::vector<Fold>& folds,
                                                       Eigen::Map<const Vector<double>> total_variation,
                                                       Index p, const std::vector<Penalty>& regs,
                                                       Index n_components) {
    const auto n_folds = static_cast<Index>(folds.size()), n_regs = static_cast<Index>(regs.size());
    const Index q = total_variation.size() - p;
    std::vector<FoldPair> pairs(folds.size());
    parallel_for(2 * n_folds, [&](Index task) {
        const auto f = static_cast<std::size_t>(task / 2);
        const bool first = task % 2 == 0;
        pairs[f].views[first ? 0 : 1] =
            decompose(folds[f], total_variation, first ? 0 : p, first ? p : q, first ? "X" : "y");
    });
    parallel_for(n_folds, [&](Index task) {
        const auto f = static_cast<std::size_t>(task);
        FoldPair& pair = pairs[f];
        const FoldView &x = pair.views[0], &y = pair.views[1];
        const Matrix<double> S12 = covariance(folds[f].train, x.kept, 0, y.kept, p);
        pair.cross = product(x.vectors, Op::kTranspose, product(S12, Op::kNone, y.vectors));
        const MomentsView& h = folds[f].held_out;
        pair.held_out = scaled_scatter(h, x.kept, 0, y.kept, p, h.n);
        clear_constant(h, 0, x.kept, pair.held_out);
        Matrix<double> transposed = pair.held_out.transpose();
        clear_constant(h, p, y.kept, transposed);
        pair.held_out = transposed.transpose();
    });

    std::vector<std::vector<double>> result(folds.size());
    for (auto& fold : result)
        fold.assign(static_cast<std::size_t>(n_regs * n_components),
                    std::numeric_limits<double>::quiet_NaN());
    parallel_for(n_folds * n_regs, [&](Index task) {
        const auto f = static_cast<std::size_t>(task / n_regs), g = static_cast<std::size_t>(task % n_regs);
        const FoldPair& pair = pairs[f];
        const FoldView &x = pair.views[0], &y = pair.views[1];
        const Index k = std::min({n_components, x.values.size(), y.values.size()});
        // T = (Λ₁ + r₁)^-½ V₁ᵀ S₁₂ V₂ (Λ₂ + r₂)^-½ = U D Vᵀ
        const Vector<double> a = (x.values.array() + regs[g].x).sqrt().inverse(),
                             b = (y.values.array() + regs[g].y).sqrt().inverse();
        const Svd svd = truncated_svd(a.asDiagonal() * pair.cross * b.asDiagonal(), k);
        // W₁ = V₁ (Λ₁ + r₁)^-½ U
        const Matrix<double> W1 = product(x.vectors, Op::kNone, a.asDiagonal() * svd.U);
        const Matrix<double> W2 = product(y.vectors, Op::kNone, b.asDiagonal() * svd.V);
        // ρⱼ = w₁ᵀ S₁₂ w₂ / √(w₁ᵀ S₁₁ w₁ · w₂ᵀ S₂₂ w₂) over the held-out rows
        const Vector<double> s1 = score_variances(x.held_out, W1), s2 = score_variances(y.held_out, W2);
        const Vector<double> s12 =
            W1.cwiseProduct(product(pair.held_out, Op::kNone, W2)).colwise().sum().transpose();
        for (Index j = 0; j < k; ++j) {
            const double scale = std::sqrt(s1[j]) * std::sqrt(s2[j]);
            const double rho = scale > 0 ? s12[j] / scale : 0.0;
            result[f][g * static_cast<std::size_t>(n_components) + static_cast<std::size_t>(j)] =
                std::clamp(rho, -1.0, 1.0);
        }
    });
    return result;
}

}  // namespace fastcca
