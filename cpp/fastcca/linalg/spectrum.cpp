// Estimates of the extreme eigenvalues from a Cholesky factor.
#include <algorithm>
#include <cmath>
#include <functional>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/linalg/tridiagonal.hpp"

namespace fastcca {
namespace {

// The largest Ritz value of a positive definite operator after a few Lanczos steps
//     A Q = Q T + β q eᵀ,   T tridiagonal with α on and β beside the diagonal,
// with every vector orthogonalised against all before it.
double largest_ritz_value(Index n, const std::function<void(Matrix<double>&)>& apply) {
    const Index steps = std::min<Index>(n, 8);
    Matrix<double> Q(n, steps);
    Matrix<double> w = random_uniform(n, 1);
    Vector<double> alpha = Vector<double>::Zero(steps), beta = Vector<double>::Zero(steps);
    Index done = 0;
    double norm = w.norm();
    while (done < steps) {
        Q.col(done) = w / norm;
        w = Q.col(done);
        apply(w);
        const auto basis = Q.leftCols(done + 1);
        alpha[done] = basis.col(done).dot(w.col(0));
        for (int twice = 0; twice < 2; ++twice) w.col(0) -= basis * (basis.transpose() * w.col(0)).eval();
        norm = w.norm();
        beta[done] = norm;
        ++done;
        if (!(norm > 1e-12 * alpha.head(done).maxCoeff())) break;  // an invariant subspace: exact
        poll();
    }
    return tridiagonal_eigendecomposition(alpha.head(done), beta.head(done - 1), 0).values[done - 1];
}

}  // namespace

Extremes extreme_eigenvalues(ConstRef<double> L) {
    const auto lower = L.triangularView<Eigen::Lower>();
    const auto upper = L.transpose().triangularView<Eigen::Upper>();
    // In units of the largest pivot, so that the squares in norms neither overflow nor underflow.
    const double unit = L.diagonal().maxCoeff();
    const double largest = largest_ritz_value(L.rows(), [&](Matrix<double>& w) {
        // w ← L Lᵀ w
        w.col(0) = (upper * w.col(0) / unit).eval();
        w.col(0) = (lower * w.col(0) / unit).eval();
    });
    // The smallest eigenvalue of L Lᵀ is one over the largest of L⁻ᵀ L⁻¹.
    const double inverse = largest_ritz_value(L.rows(), [&](Matrix<double>& w) {
        auto column = w.col(0);
        lower.solveInPlace(column);
        column *= unit;
        upper.solveInPlace(column);
        column *= unit;
    });
    return {largest * unit * unit, unit * unit / inverse};
}

}  // namespace fastcca
