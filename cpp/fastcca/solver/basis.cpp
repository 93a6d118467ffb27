#include "fastcca/solver/basis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fastcca/linalg/qr.hpp"
#include "fastcca/linalg/svd.hpp"

namespace fastcca {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// σmax² and σmin² of a triangle, or zeros where its diagonal alone shows that it is near singular.
Extremes squared_extremes(const Matrix<double>& R, double tolerance) {
    const auto diagonal = R.diagonal().cwiseAbs();
    // σmin <= min |Rⱼⱼ| and max |Rⱼⱼ| <= σmax
    if (!(diagonal.minCoeff() > kMargin * tolerance * diagonal.maxCoeff())) return {0, 0};
    return extreme_eigenvalues(R.transpose());
}

double condition_of(double largest_squared, double smallest_squared, double ridge) {
    const double smallest = smallest_squared + ridge;
    return smallest > 0 ? std::sqrt((largest_squared + ridge) / smallest) : kInfinity;
}

WhitenedView view_of(const CentredView& source) {
    WhitenedView view;
    view.width = source.width;
    view.kept = source.kept;
    return view;
}

// From the singular values s of the view (descending, with as many zeros behind them as the view has columns
// more): the rank above the threshold, the condition with the ridge, and s / √(s² + ridge) of what is kept.
Vector<double> shrinkage(const Vector<double>& s, Index columns, double tolerance, double ridge,
                         WhitenedView& view) {
    const double largest = s[0], smallest = columns > s.size() ? 0 : s[s.size() - 1];
    view.rank = (s.array() >= tolerance * largest).count();
    view.condition = condition_of(largest * largest, smallest * smallest, ridge);
    view.dropped = view.rank < columns &&
                   std::sqrt(smallest * smallest + ridge) < tolerance * std::sqrt(largest * largest + ridge);
    const auto kept = s.head(view.rank).array();
    return kept / (kept.square() + ridge).sqrt();
}

struct Scales {
    double tolerance;  // share of σmax below which a singular value counts as zero
    double ridge;      // r (N-1), beside σ²
    double unit;       // √(N-1): scores of unit variance have this norm
};

// From Q and R with A = Q R, by R = U s Vᵀ; with A = Rᵀ Qᵀ, by Rᵀ = U s Vᵀ.
void basis_by_svd(const ThinQr& qr, bool transposed, Index columns, const Scales& scales, Basis& basis) {
    const Svd svd = full_svd(transposed ? Matrix<double>(qr.R.transpose()) : qr.R);
    const Vector<double> shrink = shrinkage(svd.values, columns, scales.tolerance, scales.ridge, basis.view);
    const Index rank = basis.view.rank;
    basis.F = svd.U.leftCols(rank) * shrink.asDiagonal();
    // W = √(N-1) V (s² + ridge)^-½ U
    const Vector<double> root = scales.unit * shrink.cwiseQuotient(svd.values.head(rank));
    Matrix<double> V = svd.V.leftCols(rank) * root.asDiagonal();
    Matrix<double>& short_of_q = transposed ? V : basis.F;
    short_of_q = product(qr.Q, Op::kNone, short_of_q);
    basis.view.to_weights = [V = std::move(V)](const Matrix<double>& U) { return product(V, Op::kNone, U); };
}

// From Q and R with A = Q R of full rank.
void basis_by_triangle(ThinQr qr, const Scales& scales, Basis& basis) {
    const Index d = qr.R.cols();
    basis.F = std::move(qr.Q);
    if (scales.ridge > 0) {
        // [R; √ridge I] = [P₁; P₂] R₂, so [A; √ridge I] = [Q P₁; P₂] R₂
        Matrix<double> augmented = Matrix<double>::Zero(2 * d, d);
        augmented.topRows(d) = qr.R;
        augmented.bottomRows(d).diagonal().setConstant(std::sqrt(scales.ridge));
        qr = thin_qr(augmented);
        basis.F = product(basis.F, Op::kNone, qr.Q.topRows(d));
    }
    // W = √(N-1) R⁻¹ U
    basis.view.to_weights = [L = Matrix<double>(qr.R.transpose()),
                             unit = scales.unit](const Matrix<double>& U) {
        Matrix<double> W = unit * U;
        solve_lower_transposed<double>(L, W);
        return W;
    };
}

}  // namespace

Basis orthogonal_basis(const Matrix<double>& A, const CentredView& source, Index n, double r) {
    const Index d = A.cols();
    const double tolerance = kEps * static_cast<double>(std::max(n, d));
    const Scales scales{tolerance, r * (source.n - 1), std::sqrt(source.n - 1)};
    Basis basis;
    basis.view = view_of(source);
    if (d > A.rows()) {
        basis_by_svd(thin_qr(A.transpose()), true, d, scales, basis);
        return basis;
    }
    ThinQr qr = thin_qr(A);
    const Extremes e = squared_extremes(qr.R, tolerance);
    if (e.smallest > std::pow(kMargin * tolerance, 2) * e.largest) {
        basis.view.rank = d;
        basis.view.condition = condition_of(e.largest, e.smallest, scales.ridge);
        basis_by_triangle(std::move(qr), scales, basis);
    } else {
        basis_by_svd(qr, false, d, scales, basis);
    }
    return basis;
}

Basis gram_basis(std::shared_ptr<const CentredView> source, double r) {
    const Matrix<double>& A = source->data;
    const Index n = A.rows();
    const double ridge = r * (source->n - 1), scale = std::sqrt(source->n - 1);
    Basis basis;
    basis.view = view_of(*source);

    // K = A Aᵀ = E λ Eᵀ, s = √λ
    Matrix<double> K(n, n);
    symmetric_product<double>(1.0, A, Op::kNone, 0.0, K);
    const Eigendecomposition e = eigendecomposition(K);
    const Vector<double> s = e.values.reverse().cwiseMax(0.0).cwiseSqrt();
    const double tolerance = std::sqrt(kEps * static_cast<double>(n));
    const Vector<double> shrink = shrinkage(s, A.cols(), tolerance, ridge, basis.view);
    const Index k = basis.view.rank;
    const Matrix<double> E = e.vectors.rowwise().reverse().leftCols(k);
    basis.F = E * shrink.asDiagonal();
    // With A = E s Vᵀ: W = √(N-1) V (s² + ridge)^-½ U = √(N-1) Aᵀ E s⁻¹ (s² + ridge)^-½ U
    const Vector<double> root = scale * shrink.cwiseQuotient(s.head(k).cwiseAbs2());
    basis.view.to_weights = [source = std::move(source),
                             E = Matrix<double>(E * root.asDiagonal())](const Matrix<double>& U) {
        return product(source->data, Op::kTranspose, product(E, Op::kNone, U));
    };
    return basis;
}

}  // namespace fastcca
