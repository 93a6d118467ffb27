#include "fastcca/losses/contraction.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// QDWH (Nakatsukasa, Bai and Gygi, "Optimizing Halley's iteration for computing the matrix polar
// decomposition", 2010) in the form with a Cholesky factor, which loses digits in proportion to c ≈
// (2/low)^(4/3). Singular values below the bound from which it starts only take more steps.
template <typename S>
double first_low(Index n) {
    // The least singular value of a square matrix of unrelated entries is of the order of 1/n.
    return sizeof(S) == 4 ? std::clamp(0.2 / static_cast<double>(n), 1e-4, 1e-3) : 1e-3;
}
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

// A polynomial of degree 2 or 3 that meets (1 − e)^(−1/2) at the Chebyshev points of [0, top].
struct Polynomial {
    double q[4];
    double residual;  // of √(1 − e) q(e) from 1
    Polynomial(double top, int degree) : q{0, 0, 0, 0} {
        const int n = degree + 1;
        double x[4], f[4];
        for (int i = 0; i < n; ++i) {
            x[i] = top / 2 * (1 - std::cos((2 * i + 1) * std::acos(-1.0) / (2 * n)));
            f[i] = 1 / std::sqrt(1 - x[i]);
        }
        // Newton's divided differences, then Horner's scheme with polynomials.
        for (int k = 1; k < n; ++k)
            for (int i = n - 1; i >= k; --i) f[i] = (f[i] - f[i - 1]) / (x[i] - x[i - k]);
        for (int i = n - 1; i >= 0; --i) {
            for (int j = degree; j > 0; --j) q[j] = q[j - 1] - x[i] * q[j];
            q[0] = f[i] - x[i] * q[0];
        }
        // The derivative over (degree + 1)! is 5/16 or 35/128 times (1 − e)^(−degree − 3/2), and the product
        // of the distances to the points at most 2 (top/4)^(degree + 1).
        residual = (degree == 2 ? 5.0 / 16 : 35.0 / 128) * 2 * std::pow(top / (4 * (1 - top)), n);
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
Scratch<S> contraction_polar(ConstRef<S> T) {
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
    double low = first_low<S>(n);
    {
        // The first step's large c takes double.
        const Weights w(low);
        Scratch<double> start(T.rows(), n), TT(n, n), Z(n, n), first(T.rows(), n);
        start = T.template cast<double>();
        symmetric_product<double>(1, start, Op::kTranspose, 0, TT);
        if (!halley<double>(w, start, TT, Z, first)) first.noalias() = start;
        *X = first.template cast<S>();
        low = w.next_low;
    }
    for (int step = 1; step < kMaxSteps; ++step) {
        poll();
        symmetric_product<S>(1, *X, Op::kTranspose, 0, G);
        E = -G;
        E.diagonal().array() += 1;
        const double top = largest_eigenvalue<S>(E);
        if (top < 0.3) {
            // X ← X (I − E)^(−1/2) ≈ X (q₀ I + q₁ E + q₂ E² + q₃ E³), the cubic where the quadratic would
            // take another step
            const double end = 1.1 * std::max(top, 1e-6);
            Polynomial p(end, 2);
            if (p.residual > kResidual<S>) p = Polynomial(end, 3);
            const auto q = [&](int i) { return static_cast<S>(p.q[i]); };
            if (p.q[3] == 0) {
                G = q(1) * E;
                G.diagonal().array() += q(0);
                symmetric_product<S>(q(2), E, Op::kNone, 1, G);
            } else {
                symmetric_product<S>(1, E, Op::kNone, 0, G);
                Scratch<S> sum(n, n);
                sum = q(2) * E + q(3) * G;
                sum.diagonal().array() += q(1);
                known_symmetric_product<S>(1, E, Op::kNone, sum, Op::kNone, 0, G);
                G.diagonal().array() += q(0);
            }
            gemm<S>(1, *X, Op::kNone, G, Op::kNone, 0, *next);
            std::swap(X, next);
            if (p.residual < kResidual<S>) break;
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

template Scratch<float> contraction_polar<float>(ConstRef<float>);
template Scratch<double> contraction_polar<double>(ConstRef<double>);

}  // namespace fastcca
