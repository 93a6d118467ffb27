#include "fastcca/linalg/roots.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <utility>

#include "fastcca/base/errors.hpp"
#include "fastcca/linalg/svd.hpp"

namespace fastcca {
namespace {

// Up to this ratio of singular values the iteration below keeps full accuracy; beyond it, the decomposition.
constexpr double kWellConditioned = 100.0;

// QDWH (Nakatsukasa, Bai and Gygi, "Optimizing Halley's iteration for computing the matrix polar
// decomposition", 2010), by Cholesky, for a tall T. Nothing is returned where T is too ill-conditioned for
// it.
std::optional<Matrix<double>> halley_polar(ConstRef<double> T) {
    const Index n = T.cols();
    Matrix<double> G(n, n), L;
    symmetric_product<double>(1.0, T, Op::kTranspose, 0.0, G);
    L = G;
    if (cholesky<double>(L) >= 0) return std::nullopt;
    const Extremes extremes = extreme_eigenvalues(L);
    if (!(extremes.condition() <= kWellConditioned * kWellConditioned)) return std::nullopt;
    // Estimated from below: a little more keeps the singular values of X within (0, 1].
    const double scale = 1.05 * std::sqrt(extremes.largest);
    // The lower bound of the singular values; one that is too high costs iterations and nothing else.
    double low = 0.8 * std::sqrt(extremes.smallest) / scale;
    Matrix<double> X = T / scale;
    G /= scale * scale;
    for (int iteration = 0; iteration < 20; ++iteration) {
        Matrix<double> E = -G;
        E.diagonal().array() += 1.0;
        const double error = E.norm();
        if (error <= 0.3) {
            // With G = XᵀX = I − E: X ← X G^(−1/2) = X (I + E/2 + 3/8 E² + O(E³)), cubically convergent.
            Matrix<double> step = 0.5 * E;
            step.diagonal().array() += 1.0;
            symmetric_product<double>(0.375, E, Op::kNone, 1.0, step);
            Matrix<double> next(X.rows(), n);
            gemm<double>(1.0, X, Op::kNone, step, Op::kNone, 0.0, next);
            X = std::move(next);
            if (error * error * error < kEps) return X;
        } else {
            // The weights that raise the interval [low, 1] the most:
            const double l2 = low * low;
            const double d = std::cbrt(4.0 * (1.0 - l2) / (l2 * l2)), root = std::sqrt(1.0 + d);
            const double a = root + 0.5 * std::sqrt(8.0 - 4.0 * d + 8.0 * (2.0 - l2) / (l2 * root));
            const double b = (a - 1.0) * (a - 1.0) / 4.0, c = a + b - 1.0;
            // X ← X (a I + b XᵀX)(I + c XᵀX)⁻¹ = (b/c) X + (a − b/c) X Z⁻¹, Z = I + c XᵀX = L Lᵀ
            L = c * G;
            L.diagonal().array() += 1.0;
            if (cholesky<double>(L) >= 0) return std::nullopt;
            Matrix<double> XZ = (a - b / c) * X;
            solve_lower_transposed_right<double>(L, XZ);
            solve_lower_right<double>(L, XZ);
            X = (b / c) * X + XZ;
            low = std::min(1.0, low * (a + b * l2) / (1.0 + c * l2));
        }
        symmetric_product<double>(1.0, X, Op::kTranspose, 0.0, G);
    }
    return std::nullopt;
}

}  // namespace

Matrix<double> inverse_sqrt(ConstRef<double> S, double floor) {
    const Index n = S.rows();
    if (n == 0) return Matrix<double>(0, 0);
    const Eigendecomposition eigen = eigendecomposition(S);
    const double largest = eigen.values[n - 1], smallest = eigen.values[0], least = floor * largest;
    if (smallest < -std::abs(least)) {
        std::ostringstream message;
        message << "the matrix is not positive semi-definite: its eigenvalues run from " << smallest << " to "
                << largest << "; add a ridge to its diagonal, or raise the floor";
        throw NumericalError(message.str());
    }
    Index dropped = 0;
    while (dropped < n && (eigen.values[dropped] <= least || eigen.values[dropped] <= 0.0)) ++dropped;
    // S^(−1/2) = (V Λ^(−1/4)) (V Λ^(−1/4))ᵀ
    const Matrix<double> root = eigen.vectors.rightCols(n - dropped) *
                                eigen.values.tail(n - dropped).array().pow(-0.25).matrix().asDiagonal();
    Matrix<double> result(n, n);
    symmetric_product<double>(1.0, root, Op::kNone, 0.0, result);
    return result;
}

Matrix<double> polar(ConstRef<double> T, double eps) {
    if (T.rows() < T.cols()) return polar(T.transpose(), eps).transpose();
    if (!T.allFinite()) throw NumericalError("polar factor of a matrix with entries that are not finite");
    const double largest = T.size() > 0 ? T.cwiseAbs().maxCoeff() : 0.0;
    if (largest == 0.0) return Matrix<double>::Zero(T.rows(), T.cols());
    const Matrix<double> scaled =
        T / std::ldexp(1.0, std::ilogb(largest));  // squares neither over- nor underflow
    if (auto P = halley_polar(scaled)) return *std::move(P);
    const Svd svd = full_svd(scaled);
    const double least = eps * static_cast<double>(T.rows()) * svd.values[0];
    Index rank = 0;
    while (rank < svd.values.size() && svd.values[rank] > least) ++rank;
    Matrix<double> P(T.rows(), T.cols());
    gemm<double>(1.0, svd.U.leftCols(rank), Op::kNone, svd.V.leftCols(rank), Op::kTranspose, 0.0, P);
    return P;
}

}  // namespace fastcca
