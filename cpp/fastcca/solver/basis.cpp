#include "fastcca/solver/basis.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "fastcca/linalg/qr.hpp"
#include "fastcca/linalg/svd.hpp"
#include "fastcca/solver/rank_rule.hpp"

namespace fastcca {
namespace {

// Singular values below this part of the largest are not known from K = A Aᵀ, which squares them.
constexpr double kSquarable = 1e-4;

// σmax² and σmin² of a triangle, or zeros where its diagonal alone shows that it is near singular.
Extremes squared_extremes(const Matrix<double>& R, double tolerance) {
    const auto diagonal = R.diagonal().cwiseAbs();
    // σmin <= min |Rⱼⱼ| and max |Rⱼⱼ| <= σmax
    if (!(diagonal.minCoeff() > kMargin * tolerance * diagonal.maxCoeff())) return {0, 0};
    return extreme_eigenvalues(R.transpose());
}

// Whether no direction can fall under the rule, by a safe margin.
bool all_kept(const Extremes& squared, const RankRule& rule) {
    return squared.smallest > std::pow(kMargin * rule.arithmetic, 2) * squared.largest &&
           squared.smallest > kMargin * std::pow(rule.most_noise(), 2);
}

double condition_of(double largest, double smallest) { return smallest > 0 ? largest / smallest : kInfinity; }

WhitenedView view_of(const CentredView& source) {
    WhitenedView view;
    view.width = source.width;
    view.kept = source.kept;
    return view;
}

// The largest of the singular values s that are not kept.
double largest_lost(const Vector<double>& s, const std::vector<Index>& kept) {
    std::size_t next = 0;
    for (Index i = 0; i < s.size(); ++i) {
        if (next < kept.size() && kept[next] == i)
            ++next;
        else
            return s[i];
    }
    return 0;
}

double unit_of(const CentredView& source) { return std::sqrt(source.n - 1); }

// From A = Q R with at least as many rows as columns.
Basis tall_basis(ThinQr qr, const CentredView& source, double r) {
    const Index d = qr.R.cols();
    Basis basis;
    WhitenedView& view = basis.view = view_of(source);
    RankRule rule{data_arithmetic(d), source.noise};
    // With a ridge, [A D; √(r(N-1)) I] = [Q P₁; P₂] R₂ E with D the norms and E those of the columns on the
    // left: the columns of R₂ have unit norm as those of R do without one.
    Vector<double> E = source.norms;
    if (r > 0) {
        const Matrix<double>& R = qr.R;
        const double root = std::sqrt(r) * unit_of(source);
        Matrix<double> augmented = Matrix<double>::Zero(2 * d, d);
        for (Index j = 0; j < d; ++j) {
            E[j] = std::hypot(source.norms[j], root);
            augmented.col(j).head(d) = R.col(j) * (source.norms[j] / E[j]);
            augmented(d + j, j) = root / E[j];
        }
        // the rank is that of the data, whatever the ridge
        if (all_kept(squared_extremes(R, rule.arithmetic), rule)) {
            view.rank = d;
        } else {
            const Svd svd = full_svd(R);
            view.rank = static_cast<Index>(rule.kept(svd.values, [&] { return svd.V; }).size());
        }
        ThinQr second = thin_qr(augmented);
        qr.Q = product(qr.Q, Op::kNone, second.Q.topRows(d));
        qr.R = std::move(second.R);
        rule.noise = rule.noise.cwiseProduct(source.norms.cwiseQuotient(E));
    }
    const Extremes e = squared_extremes(qr.R, rule.arithmetic);
    const Vector<double> scale = unit_of(source) * E.cwiseInverse();
    if (all_kept(e, rule)) {
        if (r == 0) view.rank = d;
        view.condition = condition_of(std::sqrt(e.largest), std::sqrt(e.smallest));
        basis.F = std::move(qr.Q);
        // W = √(N-1) E⁻¹ R⁻¹ U
        view.to_weights = [L = Matrix<double>(qr.R.transpose()), scale](const Matrix<double>& U) {
            Matrix<double> W = U;
            solve_lower_transposed<double>(L, W);
            return Matrix<double>(scale.asDiagonal() * W);
        };
        return basis;
    }
    // R = U s Vᵀ without what the rule drops: F = Q U, W = √(N-1) E⁻¹ V s⁻¹
    const Svd svd = full_svd(qr.R);
    const std::vector<Index> kept = rule.kept(svd.values, [&] { return svd.V; });
    const auto count = static_cast<Index>(kept.size());
    view.rank = r > 0 ? std::min(view.rank, count) : count;
    view.dropped = count < d;
    view.lost = largest_lost(svd.values, kept);
    view.condition = condition_of(svd.values[0], svd.values[d - 1]);
    basis.F = product(qr.Q, Op::kNone, Matrix<double>(svd.U(Eigen::all, kept)));
    const Vector<double> inverse = svd.values(kept).cwiseInverse();
    view.to_weights =
        [V = Matrix<double>(scale.asDiagonal() * svd.V(Eigen::all, kept) * inverse.asDiagonal())](
            const Matrix<double>& U) { return product(V, Op::kNone, U); };
    return basis;
}

// A wide view's columns in the units that its solution is found in, and the ridge r (N-1) in those. Without a
// ridge they have unit norm. With one they keep their proportions: the ridge weighs the columns as they are.
struct WideView {
    Matrix<double> A;
    Vector<double> scale;  // A = data · scale⁻¹
    double ridge = 0;
    RankRule rule;

    WideView(Matrix<double> unit_columns, const CentredView& source, double r, double arithmetic)
        : A(std::move(unit_columns)), scale(source.norms), rule{arithmetic, source.noise} {
        if (r == 0) return;
        const double largest = source.norms.maxCoeff();
        const Vector<double> norms = source.norms / largest;
        A *= norms.asDiagonal();
        scale.setConstant(largest);
        rule.noise = rule.noise.cwiseProduct(norms);
        ridge = std::pow(std::sqrt(r) * unit_of(source) / largest, 2);
    }

    // With A = E s Vᵀ: F = E s / √(s² + ridge), and what F's columns take of √(N-1) scale⁻¹ V:
    // 1 / √(s² + ridge).
    std::vector<Index> shrink(const Vector<double>& s, const std::function<Matrix<double>()>& directions,
                              Vector<double>& shrunk, Vector<double>& inverse, WhitenedView& view) const {
        const std::vector<Index> kept = rule.kept(s, directions);
        const Index d = A.cols();
        view.rank = static_cast<Index>(kept.size());
        const double largest = std::sqrt(s[0] * s[0] + ridge);
        const double smallest = std::sqrt((d > s.size() ? 0 : std::pow(s[s.size() - 1], 2)) + ridge);
        view.condition = condition_of(largest, smallest);
        view.lost = largest_lost(s, kept);
        view.dropped = view.rank < d && smallest < rule.arithmetic * largest;
        const Vector<double> left = s(kept);
        inverse = (left.array().square() + ridge).sqrt().inverse();
        shrunk = left.cwiseProduct(inverse);
        return kept;
    }
};

Basis wide_basis(const Matrix<double>& data, const CentredView& source, double r) {
    Basis basis;
    basis.view = view_of(source);
    const WideView wide(data, source, r, data_arithmetic(data.cols()));
    // Aᵀ = Q R, Rᵀ = E s Vᵀ, so that A = E s (Q V)ᵀ
    const ThinQr qr = thin_qr(wide.A.transpose());
    const Svd svd = full_svd(qr.R.transpose());
    Vector<double> shrunk, inverse;
    const std::vector<Index> kept =
        wide.shrink(svd.values, [&] { return product(qr.Q, Op::kNone, svd.V); }, shrunk, inverse, basis.view);
    basis.F = svd.U(Eigen::all, kept) * shrunk.asDiagonal();
    Matrix<double> V =
        product(qr.Q, Op::kNone, Matrix<double>(svd.V(Eigen::all, kept) * inverse.asDiagonal()));
    V = unit_of(source) * wide.scale.cwiseInverse().asDiagonal() * V;
    basis.view.to_weights = [V = std::move(V)](const Matrix<double>& U) { return product(V, Op::kNone, U); };
    return basis;
}

}  // namespace

Basis orthogonal_basis(const Matrix<double>& A, const CentredView& source, double r) {
    return A.cols() > A.rows() ? wide_basis(A, source, r) : tall_basis(thin_qr(A), source, r);
}

Basis gram_basis(const CentredView& source, double r) {
    Basis basis;
    basis.view = view_of(source);
    const Index n = source.rows;
    auto wide =
        std::make_shared<const WideView>(source.data(), source, r, std::sqrt(kEps * static_cast<double>(n)));
    const Matrix<double>& A = wide->A;

    // K = A Aᵀ = E λ Eᵀ, s = √λ, V = Aᵀ E s⁻¹
    Matrix<double> K(n, n);
    symmetric_product<double>(1.0, A, Op::kNone, 0.0, K);
    const Eigendecomposition e = eigendecomposition(K);
    const Vector<double> s = e.values.reverse().cwiseMax(0.0).cwiseSqrt();
    // Centring leaves n - 1 directions; where one of them is smaller and no ridge lifts it, the data decide.
    if (std::hypot(s[n - 2], std::sqrt(wide->ridge)) < kSquarable * s[0])
        return wide_basis(source.data(), source, r);
    const Matrix<double> E = e.vectors.rowwise().reverse();
    Vector<double> shrunk, inverse;
    const auto directions = [&] {
        const Vector<double> divisor = (s.array() > 0).select(s, 1.0);
        return Matrix<double>(product(A, Op::kTranspose, E) * divisor.cwiseInverse().asDiagonal());
    };
    const std::vector<Index> kept = wide->shrink(s, directions, shrunk, inverse, basis.view);
    const Matrix<double> left = E(Eigen::all, kept);
    basis.F = left * shrunk.asDiagonal();
    // W = √(N-1) scale⁻¹ V (s² + ridge)^-½ U
    const Vector<double> root = inverse.cwiseQuotient(Vector<double>(s(kept)));
    basis.view.to_weights = [wide, left = Matrix<double>(left * root.asDiagonal()),
                             unit = unit_of(source)](const Matrix<double>& U) {
        Matrix<double> W = product(wide->A, Op::kTranspose, product(left, Op::kNone, U));
        return Matrix<double>(unit * wide->scale.cwiseInverse().asDiagonal() * W);
    };
    return basis;
}

}  // namespace fastcca
