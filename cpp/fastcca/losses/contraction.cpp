#include "fastcca/losses/contraction.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// QDWH (Nakatsukasa, Bai and Gygi, "Optimizing Halley's iteration for computing the matrix polar
// decomposition", 2010) in the form with a Cholesky factor, which loses digits in proportion to c ≈
// (2/low)^(4/3). Singular values below the bound from which the iteration starts only take more steps.
constexpr double kLow = 1e-3;
constexpr int kMaxSteps = 12;

// How far from 1 the singular values of the result may be.
template <typename S>
constexpr double kResidual = sizeof(S) == 4 ? 2e-5 : 1e-14;

// The root mean square of a row's last movement below which an iteration that cannot end, ends.
template <typename S>
constexpr double kStill = sizeof(S) == 4 ? 1e-5 : 1e-9;

// Eigenvalues of XᵀX below this are too close to rounding, or ask for too large a c, to set the next step by.
template <typename S>
constexpr double kNull = sizeof(S) == 4 ? 1e-3 : 1e-6;

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

// next ← X (a I + b G)(I + c G)⁻¹ = (b/c) X + (a − b/c) X Z⁻¹,  G = XᵀX,  Z = I + c G = L Lᵀ.
// False only where X is not finite. Z is overwritten.
template <typename S>
bool halley(const Weights& w, ConstRef<S> X, ConstRef<S> G, Scratch<S>& Z, Scratch<S>& next) {
    const S share = static_cast<S>(w.b / w.c);
    Z = static_cast<S>(w.c) * G;
    Z.diagonal().array() += 1;
    if (cholesky<S>(Z) >= 0) return false;
    next = (static_cast<S>(w.a) - share) * X;
    solve_lower_transposed_right<S>(Z, next);
    solve_lower_right<S>(Z, next);
    next += share * X;
    return true;
}

// q₀ + q₁ e + q₂ e² that meets (1 − e)^(−1/2) at the Chebyshev points of [0, top].
struct Quadratic {
    double q0, q1, q2;
    double residual;  // of √(1 − e) q(e) from 1
    explicit Quadratic(double top) {
        const double half = top / 2, step = std::sqrt(0.75) * half;
        const double x0 = half - step, x1 = half, x2 = half + step;
        const auto f = [](double e) { return 1 / std::sqrt(1 - e); };
        const double d01 = (f(x1) - f(x0)) / step, d12 = (f(x2) - f(x1)) / step;
        q2 = (d12 - d01) / (2 * step);
        q1 = d01 - q2 * (x0 + x1);
        q0 = f(x0) - d01 * x0 + q2 * x0 * x1;
        // |f'''| / 6 = 5/16 (1 − e)^(−7/2), and the product of the distances to the points is at most top³ /
        // 32
        residual = 5.0 / 512 * std::pow(top, 3) / std::pow(1 - top, 3);
    }
};

// The largest eigenvalue of E, positive semidefinite to rounding, from below: the power method, from the
// column that holds the most of it.
template <typename S>
double largest_eigenvalue(const Scratch<S>& E) {
    Index start;
    double value = E.diagonal().maxCoeff(&start);
    Vector<S> v = E.col(start), w;
    for (int i = 0; i < 4; ++i) {
        const S norm = v.norm();
        if (!(norm > 0)) break;
        w.noalias() = E * v;
        w /= norm;
        value = std::max(value, static_cast<double>(w.norm()));
        v.swap(w);
    }
    return value;
}

}  // namespace

template <typename S>
Scratch<S> contraction_polar(ConstRef<double> T) {
    if (T.rows() < T.cols()) {
        const Scratch<S> transposed = contraction_polar<S>(T.transpose());
        Scratch<S> P(T.rows(), T.cols());
        P = transposed.transpose();
        return P;
    }
    const Index n = T.cols();
    const double size = std::sqrt(static_cast<double>(n));
    Scratch<S> one(T.rows(), n), two(T.rows(), n), G(n, n), E(n, n);
    Scratch<S>*X = &one, *next = &two;
    double low = kLow;
    {
        // The first step's large c takes double.
        const Weights w(low);
        Scratch<double> TT(n, n), Z(n, n), first(T.rows(), n);
        symmetric_product<double>(1, T, Op::kTranspose, 0, TT);
        const bool finite = halley<double>(w, T, TT, Z, first);
        *X = (finite ? ConstRef<double>(first) : T).template cast<S>();
        low = w.next_low;
    }
    for (int step = 1; step < kMaxSteps; ++step) {
        poll();
        symmetric_product<S>(1, *X, Op::kTranspose, 0, G);
        E = -G;
        E.diagonal().array() += 1;
        const double top = largest_eigenvalue<S>(E);
        if (top < 0.3) {
            // X ← X (I − E)^(−1/2) ≈ X (q₀ I + q₁ E + q₂ E²)
            const Quadratic q(1.1 * std::max(top, 1e-6));
            G = static_cast<S>(q.q1) * E;
            G.diagonal().array() += static_cast<S>(q.q0);
            symmetric_product<S>(static_cast<S>(q.q2), E, Op::kNone, 1, G);
            gemm<S>(1, *X, Op::kNone, G, Op::kNone, 0, *next);
            std::swap(X, next);
            if (q.residual < kResidual<S>) break;
            continue;
        }
        if (top < 1 - kNull<S>) low = std::min(low, std::sqrt(1 - top));
        const Weights w(low);
        if (!halley<S>(w, *X, G, E, *next)) break;
        low = w.next_low;
        std::swap(X, next);
        // With singular values of zero the error stays, and the iterates no longer move.
        if (low > 0.9 && static_cast<double>((*X - *next).norm()) < kStill<S> * size) break;
    }
    return std::move(*X);
}

template Scratch<float> contraction_polar<float>(ConstRef<double>);
template Scratch<double> contraction_polar<double>(ConstRef<double>);

}  // namespace fastcca
