#include "fastcca/correlation/contraction.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>
#include <vector>

#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// Composed polynomials, each of which raises the least singular value as far as an odd polynomial of degree 9
// can: nothing but products (Chen and Chow, "A stable scaling of Newton-Schulz for improving the sign
// function computation of a Hermitian matrix", 2014; Amsel et al., "The Polar Express", 2025).
//
// Of all x (q₀ + q₁ s + q₂ s² + q₃ s³ + q₄ s⁴) with s = 2x² − 1 (for which the coefficients are small), the
// one whose values on [low, 1] lie closest to 1, scaled so that they lie in [next, 1] with the next row's
// low. The last has the first terms of x (1 − (1 − x²))^(−1/2), which leaves nothing in (0, 1] behind.
struct Raise {
    double low;
    double q[5];

    double at(double x) const {
        const double s = 2 * x * x - 1;
        return x * (q[0] + s * (q[1] + s * (q[2] + s * (q[3] + s * q[4]))));
    }
};
constexpr Raise kRaises[] = {
    {8.813e-5, {1.162884598, 1.894611659, -5.600989244, -5.198335673, 8.741828660}},
    {6.704e-4, {1.163659245, 1.884892267, -5.572651446, -5.184725229, 8.708825164}},
    {5.095e-3, {1.169515284, 1.811539907, -5.359279837, -5.081725650, 8.459950296}},
    {3.841e-2, {1.211356048, 1.294427190, -3.882771391, -4.339569437, 6.716557590}},
    {0.2689, {1.368214506, -0.426373809, 0.318137732, -1.405558272, 1.145579843}},
    {0.9299, {1.39990234375, -0.623046875, 0.3134765625, -0.107421875, 0.01708984375}},
};

// The bound on the least singular value from which the iteration starts; values below it take more steps.
double first_low(Index n) {
    // That of a square matrix of unrelated entries is of the order of 1/n.
    return std::clamp(0.2 / static_cast<double>(n), 1e-4, 1e-3);
}
constexpr int kMaxSteps = 16;

// How far from 1 the singular values of the result may be.
template <typename S>
constexpr double kResidual = sizeof(S) == 4 ? 2e-5 : 1e-14;

// How much less than n the squared norm of a result with n singular values of 1 may be. These are at most 1
// but for rounding, so that each is then within this of 1, whatever was estimated on the way.
template <typename S>
double deficit(Index n) {
    return (sizeof(S) == 4 ? 1e-5 : 1e-12) * static_cast<double>(n) + (sizeof(S) == 4 ? 1e-4 : 1e-10);
}

// A pass of the schedule raises all singular values above its first bound. One that it leaves below
// kLeftBehind was so small that it may be rounding of a zero, and must not be raised to 1. One above is there
// after kMore steps, more of which would raise rounding whose size was overestimated.
constexpr double kLeftBehind = 0.1;
constexpr int kMore = 3;

// Eigenvalues of XᵀX below this are too close to rounding to set the next step by.
template <typename S>
constexpr double kNull = sizeof(S) == 4 ? 1e-3 : 1e-6;

// next ← X (q₀ I + q₁ Z + Z² (q₂ I + q₃ Z + q₄ Z²)), Z = 2 XᵀX − I. Z is overwritten.
template <typename S>
void raise(const Raise& by, ConstRef<S> X, Scratch<S>& Z, Scratch<S>& square, Scratch<S>& next) {
    const auto q = [&](int i) { return static_cast<S>(by.q[i]); };
    symmetric_product<S>(1, Z, Op::kNone, 0, square);
    const Index n = Z.rows(), width = 128;
    Scratch<S> factor(n, n);
    parallel_for((n + width - 1) / width, [&](Index part) {
        for (Index j = part * width; j < std::min(n, (part + 1) * width); ++j) {
            factor.col(j) = q(3) * Z.col(j) + q(4) * square.col(j);
            factor(j, j) += q(2);
            Z.col(j) *= q(1);
            Z(j, j) += q(0);
        }
    });
    known_symmetric_product<S>(1, square, Op::kNone, factor, Op::kNone, 1, Z);
    gemm<S>(1, X, Op::kNone, Z, Op::kNone, 0, next);
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

// The largest eigenvalue of E = (I − Z)/2, positive semidefinite to rounding, from below: the power method,
// from the column that holds the most of it.
template <typename S>
double largest_eigenvalue(const Scratch<S>& Z) {
    Index start;
    double value = (1 - static_cast<double>(Z.diagonal().minCoeff(&start))) / 2;
    Vector<S> v = -Z.col(start) / 2, w;
    v[start] += S(0.5);
    for (int i = 0; i < 4; ++i) {
        const S norm = v.norm();
        if (!(norm > 0)) break;
        w = v;
        w.noalias() -= Z * v;
        w /= 2 * norm;
        value = std::max(value, static_cast<double>(w.norm()));
        v.swap(w);
    }
    return value;
}

// ‖X‖², summed in double.
template <typename S>
double squared_norm(const Scratch<S>& X) {
    double sum = 0;
    for (Index j = 0; j < X.cols(); ++j) sum += X.col(j).template cast<double>().squaredNorm();
    return sum;
}

// contraction_polar for a matrix that is not wide.
template <typename S>
std::optional<Scratch<S>> tall_polar(ConstRef<S> T) {
    const Index n = T.cols();
    Scratch<S> one(T.rows(), n), two(T.rows(), n), Z(n, n), E(n, n);
    Scratch<S>*X = &one, *next = &two;
    double low = first_low(n);
    // The last that starts from `low`, or nearly.
    const auto raise_from = [&] {
        const Raise* by = std::end(kRaises) - 1;
        while (by != kRaises && by->low > 1.5 * low) --by;
        return by;
    };
    const auto pass = std::end(kRaises) - 1 - raise_from();
    one = T;
    for (int step = 0; step < kMaxSteps; ++step) {
        poll();
        symmetric_product<S>(2, *X, Op::kTranspose, 0, Z);
        Z.diagonal().array() -= 1;
        const double top = largest_eigenvalue<S>(Z);
        if (!(top <= 1.5)) return std::nullopt;  // no contraction, or NaN
        if (top < 0.3) {
            // X ← X (I − E)^(−1/2) ≈ X (q₀ I + q₁ E + q₂ E² + q₃ E³), the cubic where the quadratic would
            // take another step
            E = S(-0.5) * Z;
            E.diagonal().array() += S(0.5);
            const double end = 1.1 * std::max(top, 1e-6);
            Polynomial p(end, 2);
            if (p.residual > kResidual<S>) p = Polynomial(end, 3);
            const auto q = [&](int i) { return static_cast<S>(p.q[i]); };
            if (p.q[3] == 0) {
                Z = q(1) * E;
                Z.diagonal().array() += q(0);
                symmetric_product<S>(q(2), E, Op::kNone, 1, Z);
            } else {
                symmetric_product<S>(1, E, Op::kNone, 0, Z);
                Scratch<S> sum(n, n);
                sum = q(2) * E + q(3) * Z;
                sum.diagonal().array() += q(1);
                known_symmetric_product<S>(1, E, Op::kNone, sum, Op::kNone, 0, Z);
                Z.diagonal().array() += q(0);
            }
            gemm<S>(1, *X, Op::kNone, Z, Op::kNone, 0, *next);
            std::swap(X, next);
            if (p.residual < kResidual<S> && static_cast<double>(n) - squared_norm<S>(*X) <= deficit<S>(n)) {
                return std::move(*X);
            }
            continue;
        }
        const double least = std::sqrt(std::max(0.0, 1 - top));
        if (step >= pass + kMore || (step >= pass && least < kLeftBehind)) return std::nullopt;
        if (top < 1 - kNull<S>) low = std::min(low, least);
        const Raise* by = raise_from();
        raise<S>(*by, *X, Z, E, *next);
        low = by + 1 == std::end(kRaises) ? by->at(low) : std::min(by->at(low), by[1].low);
        std::swap(X, next);
    }
    return std::nullopt;
}

// The rows (columns) of T that hold anything but zeros.
template <typename Norms>
std::vector<Index> nonzero(const Norms& largest) {
    std::vector<Index> at;
    for (Index i = 0; i < largest.size(); ++i)
        if (!(largest[i] == 0)) at.push_back(i);
    return at;
}

}  // namespace

template <typename S>
std::optional<Scratch<S>> contraction_polar(ConstRef<S> T) {
    const Vector<S> columns = T.cwiseAbs().colwise().maxCoeff().transpose();
    const Vector<S> rows = T.cwiseAbs().rowwise().maxCoeff();
    if ((rows.array() == 0).any() || (columns.array() == 0).any()) {
        // Those of outputs that do not vary: zero in P too, and no business of the iteration's.
        const auto i = nonzero(rows), j = nonzero(columns);
        Scratch<S> P(T.rows(), T.cols());
        P.setZero();
        if (i.empty()) return P;
        const auto inner = contraction_polar<S>(T(i, j));
        if (!inner) return std::nullopt;
        P(i, j) = *inner;
        return P;
    }
    if (T.rows() >= T.cols()) return tall_polar<S>(T);
    const auto transposed = tall_polar<S>(T.transpose());
    if (!transposed) return std::nullopt;
    Scratch<S> P(T.rows(), T.cols());
    P = transposed->transpose();
    return P;
}

template std::optional<Scratch<float>> contraction_polar<float>(ConstRef<float>);
template std::optional<Scratch<double>> contraction_polar<double>(ConstRef<double>);

}  // namespace fastcca
