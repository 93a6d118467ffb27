// Eigendecomposition of symmetric matrices: to tridiagonal form by reflectors, divide and conquer, and back.
#include <Eigen/Householder>
#include <algorithm>
#include <cmath>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/reflectors.hpp"
#include "fastcca/linalg/tridiagonal.hpp"

namespace fastcca {
namespace {

// Reflectors that are gathered in one block, and columns that a task applies them to.
constexpr Index kPanel = 32;
constexpr Index kTile = 64;
// From this size on a product of the matrix with a vector is taken in slices of columns, side by side.
constexpr Index kSliced = 768;
constexpr Index kSlices = 8;

// y = S x for symmetric S, of which the lower triangle is read.
Vector<double> symmetric_times(ConstRef<double> S, const Vector<double>& x) {
    const Index n = S.rows();
    if (n < kSliced) return S.selfadjointView<Eigen::Lower>() * x;
    // Slices of nearly the same number of entries; each adds to a vector of its own.
    Matrix<double> sums(n, kSlices);
    const auto begin = [&](Index slice) {
        const double left = 1.0 - static_cast<double>(slice) / static_cast<double>(kSlices);
        return n - static_cast<Index>(std::lround(static_cast<double>(n) * std::sqrt(left)));
    };
    parallel_for(kSlices, [&](Index slice) {
        const Index start = begin(slice), width = begin(slice + 1) - start, below = n - start - width;
        auto sum = sums.col(slice);
        sum.head(start).setZero();
        sum.segment(start, width) =
            S.block(start, start, width, width).selfadjointView<Eigen::Lower>() * x.segment(start, width);
        sum.tail(below).setZero();
        // Some columns at a time, which stay in the cache for the second of two passes.
        for (Index j = start; j < start + width; j += 16) {
            const Index w = std::min<Index>(16, start + width - j);
            const auto block = S.block(start + width, j, below, w);
            sum.segment(j, w).noalias() += block.transpose() * x.tail(below);
            sum.tail(below).noalias() += block * x.segment(j, w);
        }
    });
    Vector<double> y = sums.col(0);
    for (Index slice = 1; slice < kSlices; ++slice) y += sums.col(slice);
    return y;
}

// A = Q T Qᵀ with T tridiagonal, Q = H₀ H₁ … In A's columns below the diagonal stand the reflectors' vectors.
struct Tridiagonal {
    Vector<double> diagonal, beside, tau;
};

// Panel by panel (Dongarra, Sorensen and Hammarling, "Block reduction of matrices to condensed forms", 1989):
// the rank-two updates A ← A − v wᵀ − w vᵀ of a panel's reflectors are applied to a column when its turn
// comes, and to what follows the panel in one product.
Tridiagonal tridiagonalise(MutableRef<double> A) {
    const Index n = A.rows();
    Tridiagonal result{Vector<double>(n), Vector<double>(n - 1), Vector<double>(n - 1)};
    for (Index start = 0; start < n; start += kPanel) {
        const Index b = std::min(kPanel, n - start);
        Matrix<double> W(n, b);
        poll();
        for (Index i = 0; i < b; ++i) {
            const Index j = start + i, below = n - j - 1;
            auto column = A.col(j).tail(below + 1);
            if (i > 0) {
                const auto V = A.block(j, start, below + 1, i);
                column.noalias() -= V * W.row(j).head(i).transpose();
                column.noalias() -= W.block(j, 0, below + 1, i) * A.row(j).segment(start, i).transpose();
            }
            result.diagonal[j] = column[0];
            if (below == 0) break;
            // H = I − τ v vᵀ takes the column to β beside the diagonal and zeros below.
            double tau, beta;
            auto v = A.col(j).tail(below);
            v.makeHouseholderInPlace(tau, beta);
            v[0] = 1.0;
            result.beside[j] = beta;
            result.tau[j] = tau;
            // w = τ (A v − V Wᵀv − W Vᵀv),  w ← w − ½ τ (wᵀv) v
            Vector<double> w = symmetric_times(A.bottomRightCorner(below, below), v);
            if (i > 0) {
                const auto V = A.block(j + 1, start, below, i);
                const auto before = W.block(j + 1, 0, below, i);
                w.noalias() -= V * (before.transpose() * v).eval();
                w.noalias() -= before * (V.transpose() * v).eval();
            }
            w *= tau;
            w -= (0.5 * tau * w.dot(v)) * v;
            W.col(i).tail(below) = w;
        }
        const Index rest = n - start - b;
        if (rest == 0) break;
        // A ← A − V Wᵀ − W Vᵀ = A − [V W] [W V]ᵀ
        Matrix<double> VW(rest, 2 * b), WV(rest, 2 * b);
        VW << A.block(start + b, start, rest, b), W.bottomRows(rest);
        WV << W.bottomRows(rest), A.block(start + b, start, rest, b);
        lower_product<double>(-1.0, VW, Op::kNone, WV, Op::kTranspose, 1.0, A.bottomRightCorner(rest, rest));
    }
    return result;
}

// Z ← Q Z = H₀ H₁ … Z
void apply_q(ConstRef<double> A, const Vector<double>& tau, MutableRef<double> Z) {
    const Index n = A.rows(), n_panels = (n - 1 + kPanel - 1) / kPanel;
    const auto panel = [&](Index p) {
        const Index start = p * kPanel, b = std::min(kPanel, n - 1 - start);
        return A.block(start + 1, start, n - start - 1, b);
    };
    std::vector<Matrix<double>> T(static_cast<std::size_t>(n_panels));
    const auto factor = [&](Index p) {
        T[static_cast<std::size_t>(p)] = reflector_factor(panel(p), tau.segment(p * kPanel, panel(p).cols()));
    };
    const auto apply = [&](Index tile) {
        auto columns = Z.middleCols(tile * kTile, std::min(kTile, Z.cols() - tile * kTile));
        for (Index p = n_panels - 1; p >= 0; --p) {
            apply_reflector(panel(p), T[static_cast<std::size_t>(p)], Op::kNone,
                            columns.bottomRows(panel(p).rows()));
        }
    };
    const Index n_tiles = (Z.cols() + kTile - 1) / kTile;
    if (n <= 2 * kTile) {
        for (Index p = 0; p < n_panels; ++p) factor(p);
        for (Index tile = 0; tile < n_tiles; ++tile) apply(tile);
    } else {
        parallel_for(n_panels, factor);
        parallel_for(n_tiles, apply);
    }
}

}  // namespace

Eigendecomposition eigendecomposition(ConstRef<double> S) { return leading_eigenvectors(S, S.rows()); }

Eigendecomposition leading_eigenvectors(ConstRef<double> S, Index wanted) {
    const Index n = S.rows();
    if (n == 0) return {Vector<double>(0), Matrix<double>(0, 0)};
    Matrix<double> A = S.triangularView<Eigen::Lower>();
    if (!A.allFinite()) throw NumericalError("eigenvalues of a matrix with entries that are not finite");
    const double largest = A.cwiseAbs().maxCoeff();
    if (largest == 0.0) return {Vector<double>::Zero(n), Matrix<double>::Identity(n, n).rightCols(wanted)};
    // A power of two near the largest entry: squares neither overflow nor underflow, nothing is rounded.
    const double unit = std::ldexp(1.0, std::ilogb(largest));
    A /= unit;
    const Tridiagonal T = tridiagonalise(A);
    Eigendecomposition result = tridiagonal_eigendecomposition(T.diagonal, T.beside, wanted);
    apply_q(A, T.tau, result.vectors);
    result.values *= unit;
    return result;
}

}  // namespace fastcca
