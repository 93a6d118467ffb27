#include "fastcca/linalg/secular.hpp"

#include <algorithm>
#include <cmath>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// Columns and rows that one task computes.
constexpr Index kSlice = 32;
// Steps to a root, of which some five are needed; then halvings, more than there are powers of two between
// the largest number and the least beside its last bit.
constexpr int kSteps = 100, kHalvings = 2200;

// f(λ) = 1 + ψ + φ,  ψ = ρ Σ_{i≤j} z_i² / (d_i − λ),  φ = ρ Σ_{i>j} z_i² / (d_i − λ), with their derivatives.
struct Secular {
    double psi, dpsi, phi, dphi;
    double value() const { return 1.0 + psi + phi; }
};

// weights = ρ z², offsets = d − d_origin.
Secular evaluate(const Vector<double>& weights, const Vector<double>& offsets, double x, Index j) {
    const Index n = offsets.size();
    const auto sums = [&](Index start, Index count, double& sum, double& slope) {
        const auto gap = offsets.segment(start, count).array() - x;
        const auto w = weights.segment(start, count).array();
        sum = (w / gap).sum();
        slope = (w / gap.square()).sum();
    };
    Secular f{};
    sums(0, j + 1, f.psi, f.dpsi);
    sums(j + 1, n - j - 1, f.phi, f.dphi);
    return f;
}

// The zero of f between the poles d_j and d_{j+1} (the last: above d_j), where f rises from −∞ to +∞ (to 1).
// Bunch, Nielsen and Sorensen, "Rank-one modification of the symmetric eigenproblem" (1978): ψ and φ are
// replaced by r + s / (pole − x) with their values and slopes at x, of which the zero is found exactly. A
// bracket is kept, and halved where rounding leads the steps astray or they take too many. Returns λ_j; the
// gaps d_i − λ_j are exact but for the last bit, since λ_j is kept as a pole and a distance from it.
double find_root(const Vector<double>& d, const Vector<double>& weights, Index j, MutableRef<double> gaps) {
    const Index n = d.size();
    const bool last = j == n - 1;
    const double width = last ? weights.sum() : d[j + 1] - d[j];
    Index origin = j;
    Vector<double> offsets = d.array() - d[j];
    double low = 0.0, high = width, x = 0.5 * width;
    Secular f = evaluate(weights, offsets, x, j);
    if (!last) {
        if (f.value() >= 0.0) {
            high = x;
        } else {
            // The nearer pole is the origin, so that no difference from it loses digits.
            origin = j + 1;
            offsets = d.array() - d[j + 1];
            low = -x;
            high = 0.0;
            x = low;
            f = evaluate(weights, offsets, x, j);
        }
    }
    bool found = false;
    for (int iteration = 0; iteration < kSteps + kHalvings; ++iteration) {
        const double value = f.value();
        found = std::abs(value) <= 2.0 * kEps * (1.0 + std::abs(f.psi) + std::abs(f.phi));
        if (found) break;
        (value < 0.0 ? low : high) = x;
        // c + s₁ / (a₁ − η) + s₂ / (a₂ − η) = 0 for the step η, with c = 1 + r₁ + r₂:
        //     c η² − b η + a₁ a₂ f = 0,  b = c (a₁ + a₂) + s₁ + s₂
        const double a1 = offsets[j] - x;
        double step;
        if (last) {
            // 1 + ψ alone: (1 + r₁) (a₁ − η) + s₁ = 0
            const double s1 = f.dpsi * a1 * a1, c = 1.0 + f.psi - f.dpsi * a1;
            step = a1 + s1 / c;
        } else {
            const double a2 = offsets[j + 1] - x;
            const double c = value - a1 * f.dpsi - a2 * f.dphi;
            const double b = (a1 + a2) * value - a1 * a2 * (f.dpsi + f.dphi), constant = a1 * a2 * value;
            const double discriminant_root = std::sqrt(std::abs(b * b - 4.0 * c * constant));
            step = b <= 0.0 ? (b - discriminant_root) / (2.0 * c) : 2.0 * constant / (b + discriminant_root);
        }
        double next = x + step;
        if (iteration >= kSteps || !(next > low && next < high)) next = low + 0.5 * (high - low);
        found = next == x || next == low || next == high;  // no number between
        if (found) break;
        x = next;
        f = evaluate(weights, offsets, x, j);
    }
    if (!found) throw NumericalError("eigenvalues did not converge");
    gaps = offsets.array() - x;
    return d[origin] + x;
}

// task(start, count) for the slices of 0 … n − 1, side by side where there are many.
void for_slices(Index n, const std::function<void(Index, Index)>& task) {
    const Index n_slices = (n + kSlice - 1) / kSlice;
    const auto slice = [&](Index s) { task(s * kSlice, std::min(kSlice, n - s * kSlice)); };
    if (n <= 2 * kSlice) {
        for (Index s = 0; s < n_slices; ++s) slice(s);
    } else {
        parallel_for(n_slices, slice);
    }
}

}  // namespace

SecularRoots secular_roots(const Vector<double>& d, const Vector<double>& z, double rho) {
    const Index n = d.size();
    const Vector<double> weights = rho * z.cwiseAbs2();
    SecularRoots roots{Vector<double>(n), Matrix<double>(n, n)};
    for_slices(n, [&](Index start, Index count) {
        for (Index j = start; j < start + count; ++j) {
            roots.values[j] = find_root(d, weights, j, roots.gaps.col(j));
        }
    });
    return roots;
}

Matrix<double> secular_vectors(const Vector<double>& d, const Vector<double>& z, const Matrix<double>& gaps,
                               const std::vector<Index>& order, Index first) {
    const Index n = d.size();
    // The z for which the computed λ are the exact eigenvalues, and so their vectors orthogonal (Gu and
    // Eisenstat, "A stable and efficient algorithm for the rank-one modification of the symmetric
    // eigenproblem", 1994):
    //     ρ z_i² = (λ_i − d_i) Π_{j≠i} (d_i − λ_j) / (d_i − d_j)
    Vector<double> exact(n);
    for_slices(n, [&](Index start, Index count) {
        auto product = exact.segment(start, count).array();
        product.setOnes();
        for (Index j = 0; j < n; ++j) {
            const Index own = j - start;
            const auto gap = gaps.col(j).segment(start, count).array();
            const double kept = own >= 0 && own < count ? product[own] : 0.0;
            product *= gap / (d.segment(start, count).array() - d[j]);
            if (own >= 0 && own < count) product[own] = -kept * gap[own];
        }
        for (Index i = start; i < start + count; ++i) exact[i] = std::copysign(std::sqrt(exact[i]), z[i]);
    });
    // u_j ∝ z_i / (d_i − λ_j)
    Matrix<double> vectors(n, n - first);
    for_slices(n - first, [&](Index start, Index count) {
        for (Index j = start; j < start + count; ++j) {
            const Vector<double> u = exact.array() / gaps.col(first + j).array();
            const double norm = u.norm();
            for (Index i = 0; i < n; ++i) vectors(i, j) = u[order[static_cast<std::size_t>(i)]] / norm;
        }
    });
    return vectors;
}

}  // namespace fastcca
