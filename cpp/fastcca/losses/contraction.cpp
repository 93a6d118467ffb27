#include "fastcca/losses/contraction.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// QDWH (Nakatsukasa, Bai and Gygi, "Optimizing Halley's iteration for computing the matrix polar
// decomposition", 2010) in the form with a Cholesky factor, which loses digits in proportion to c ≈
// (2/low)^(8/3)/4. Singular values below the bound from which the iteration starts only take more steps.
constexpr double kLow = 1e-3;
constexpr int kMaxSteps = 10;

// The weights that raise the interval [low, 1] of singular values the most.
struct Weights {
    double a, b, c, next_low;
    explicit Weights(double low) {
        const double l2 = low * low;
        const double d = std::cbrt(4 * (1 - l2) / (l2 * l2)), root = std::sqrt(1 + d);
        a = root + 0.5 * std::sqrt(8 - 4 * d + 8 * (2 - l2) / (l2 * root));
        b = (a - 1) * (a - 1) / 4;
        c = a + b - 1;
        next_low = std::min(1.0, low * (a + b * l2) / (1 + c * l2));
    }
};

}  // namespace

Matrix<double> contraction_polar(ConstRef<double> T) {
    if (T.rows() < T.cols()) return contraction_polar(T.transpose()).transpose();
    const Index n = T.cols();
    Matrix<double> X = T, next(X.rows(), n), G(n, n), Z(n, n);
    double low = kLow;
    for (int step = 0; step < kMaxSteps; ++step) {
        poll();
        symmetric_product<double>(1, X, Op::kTranspose, 0, G);
        Z = -G;
        Z.diagonal().array() += 1;
        const double error = Z.norm();  // of E = I − XᵀX
        if (error < 0.3) {
            // X ← X (I − E)^(−1/2) ≈ X (I + E/2 + 3/8 E²), which cubes the error
            G = 0.5 * Z;
            G.diagonal().array() += 1;
            symmetric_product<double>(0.375, Z, Op::kNone, 1, G);
            gemm<double>(1, X, Op::kNone, G, Op::kNone, 0, next);
            X.swap(next);
            if (error * error * error < 1e-12) return X;
            continue;
        }
        // X ← X (a I + b XᵀX)(I + c XᵀX)⁻¹ = (b/c) X + (a − b/c) X Z⁻¹, Z = I + c XᵀX = L Lᵀ
        const Weights w(low);
        Z = w.c * G;
        Z.diagonal().array() += 1;
        if (cholesky<double>(Z) >= 0) break;  // only where T is not finite
        next = (w.a - w.b / w.c) * X;
        solve_lower_transposed_right<double>(Z, next);
        solve_lower_right<double>(Z, next);
        next += (w.b / w.c) * X;
        low = w.next_low;
        X.swap(next);
        // With singular values of zero the error stays, and the iterates no longer move.
        if (low > 0.9 && (X - next).norm() < 1e-9 * std::sqrt(static_cast<double>(n))) break;
    }
    return X;
}

}  // namespace fastcca
