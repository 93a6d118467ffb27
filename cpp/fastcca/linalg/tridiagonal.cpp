#include "fastcca/linalg/tridiagonal.hpp"

#include <Eigen/Eigenvalues>
#include <Eigen/Jacobi>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/secular.hpp"

namespace fastcca {
namespace {

// Up to this size by QR iterations; up to the other, a part is one task.
constexpr Index kLeafSize = 32;
constexpr Index kTask = 192;

// Eigenvalues so far, and their eigenvectors in the diagonal block `Q` of the part.
struct Part {
    Eigen::Ref<Vector<double>> values;
    MutableRef<double> Q;
};

// Which rows of an eigenvector may be nonzero before two parts are joined.
enum Kind { kUpper, kBoth, kLower, kDeflated };

std::vector<Index> ascending(const Eigen::Ref<const Vector<double>>& values) {
    std::vector<Index> order(static_cast<std::size_t>(values.size()));
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return values[a] < values[b]; });
    return order;
}

// Cuppen's method: with the entry e between two parts, and their eigendecompositions Q₁ D₁ Q₁ᵀ, Q₂ D₂ Q₂ᵀ
// (whose adjoining diagonal entries were reduced by |e|),
//     T = [Q₁   ] (D + ρ z zᵀ) [Q₁   ]ᵀ,   z = (last row of Q₁, ± first row of Q₂) / √2,   ρ = 2 |e|.
//         [   Q₂]              [   Q₂]
class Merge {
 public:
    Merge(Part part, Index n1, double e)
        : d_(part.values), Q_(part.Q), n1_(n1), n_(d_.size()), rho_(2.0 * std::abs(e)) {
        z_.resize(n_);
        z_.head(n1_) = Q_.row(n1_ - 1).head(n1_);
        z_.tail(n_ - n1_) = std::copysign(1.0, e) * Q_.row(n1_).tail(n_ - n1_);
        z_ *= std::sqrt(0.5);
        kind_.assign(static_cast<std::size_t>(n_), kLower);
        std::fill_n(kind_.begin(), n1_, kUpper);
    }

    // Leaves all eigenvalues and, in the last columns of Q, the eigenvectors of the `wanted` largest.
    void run(Index wanted) {
        const std::vector<Index> kept = deflate();
        poll();
        // The kept eigenvectors in the order upper, both, lower: their zeros then form blocks.
        const Index K = static_cast<Index>(kept.size());
        std::vector<Index> order(kept.size());
        std::iota(order.begin(), order.end(), Index{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](Index a, Index b) { return kind(at(kept, a)) < kind(at(kept, b)); });
        const auto count = [&](Kind k) {
            return static_cast<Index>(
                std::count_if(kept.begin(), kept.end(), [&](Index i) { return kind(i) == k; }));
        };
        const Index n_upper = count(kUpper), n_lower = count(kLower);

        Vector<double> d(K), z(K);
        for (Index i = 0; i < K; ++i) {
            d[i] = d_[at(kept, i)];
            z[i] = z_[at(kept, i)];
        }
        const SecularRoots roots = secular_roots(d, z, rho_);

        // Old columns: the kept ones in their order, then the deflated ones. New eigenvalues likewise.
        std::vector<Index> from(kept.size());
        for (Index i = 0; i < K; ++i) at(from, i) = at(kept, at(order, i));
        for (Index i = 0; i < n_; ++i)
            if (kind(i) == kDeflated) from.push_back(i);
        Vector<double> values(n_);
        values.head(K) = roots.values;
        for (Index i = K; i < n_; ++i) values[i] = d_[at(from, i)];
        const std::vector<Index> sorted = ascending(values);

        // Among the largest eigenvalues, those of the kept columns are the largest of these.
        const Index first = K - static_cast<Index>(std::count_if(sorted.end() - wanted, sorted.end(),
                                                                 [&](Index i) { return i < K; }));
        const Matrix<double> inner = secular_vectors(d, z, roots.gaps, order, first);
        Matrix<double> old(n_, n_), fresh(n_, K - first);
        columns(0, [&](Index i) { old.col(i) = Q_.col(at(from, i)); });
        const Index touching_upper = K - n_lower, touching_lower = K - n_upper, n2 = n_ - n1_;
        gemm<double>(1.0, old.topLeftCorner(n1_, touching_upper), Op::kNone, inner.topRows(touching_upper),
                     Op::kNone, 0.0, fresh.topRows(n1_));
        gemm<double>(1.0, old.block(n1_, n_upper, n2, touching_lower), Op::kNone,
                     inner.bottomRows(touching_lower), Op::kNone, 0.0, fresh.bottomRows(n2));
        for (Index i = 0; i < n_; ++i) d_[i] = values[at(sorted, i)];
        columns(n_ - wanted, [&](Index i) {
            const Index s = at(sorted, i);
            if (s < K) {
                Q_.col(i) = fresh.col(s - first);
            } else {
                Q_.col(i) = old.col(s);
            }
        });
    }

 private:
    static Index& at(std::vector<Index>& v, Index i) { return v[static_cast<std::size_t>(i)]; }
    static Index at(const std::vector<Index>& v, Index i) { return v[static_cast<std::size_t>(i)]; }
    Kind& kind(Index i) { return kind_[static_cast<std::size_t>(i)]; }

    // Sets eigenvectors aside that remain eigenvectors of T: those that z does not touch, and, of two with
    // nearly the same eigenvalue, the combination that z does not touch. Returns the others, by ascending
    // eigenvalue.
    std::vector<Index> deflate() {
        std::vector<Index> kept;
        const double tol = 8.0 * kEps * std::max(d_.cwiseAbs().maxCoeff(), rho_);
        Index previous = -1;
        for (const Index i : ascending(d_)) {
            if (rho_ * std::abs(z_[i]) <= tol) {
                kind(i) = kDeflated;
                continue;
            }
            if (previous >= 0) {
                // The rotation that takes (z_p, z_i) to (0, r) leaves (d_i − d_p) c s beside the diagonal.
                const double r = std::hypot(z_[previous], z_[i]), c = z_[i] / r, s = -z_[previous] / r;
                if (std::abs((d_[i] - d_[previous]) * c * s) <= tol) {
                    rotate(previous, i, c, s);
                    z_[i] = r;
                } else {
                    kept.push_back(previous);
                }
            }
            previous = i;
        }
        if (previous >= 0) kept.push_back(previous);
        return kept;
    }

    void rotate(Index p, Index i, double c, double s) {
        const Vector<double> q = Q_.col(p);
        Q_.col(p) = c * q + s * Q_.col(i);
        Q_.col(i) = c * Q_.col(i) - s * q;
        const double dp = d_[p], di = d_[i];
        d_[p] = dp * c * c + di * s * s;
        d_[i] = dp * s * s + di * c * c;
        if (kind(p) != kind(i)) kind(i) = kBoth;
        kind(p) = kDeflated;
    }

    // task(i) for each column from `first` on, many columns at a time where there is much to copy.
    void columns(Index first, const std::function<void(Index)>& task) const {
        const Index step = n_ <= 2 * kTask ? n_ : 64;
        parallel_for((n_ - first + step - 1) / step, [&](Index s) {
            for (Index i = first + s * step; i < std::min(n_, first + (s + 1) * step); ++i) task(i);
        });
    }

    Eigen::Ref<Vector<double>> d_;
    MutableRef<double> Q_;
    Index n1_, n_;
    double rho_;
    Vector<double> z_;
    std::vector<Kind> kind_;
};

// By rotations, each of which makes an entry beside the diagonal zero, until all are but for rounding beside
// the largest entry (Jacobi's method, cyclic): slower than QR iterations, and sure to converge. The values
// ascend.
void by_rotations(const Vector<double>& diagonal, const Vector<double>& beside,
                  Eigen::Ref<Vector<double>> values, MutableRef<double> vectors) {
    const Index n = diagonal.size();
    Matrix<double> A = Matrix<double>::Zero(n, n), Q = Matrix<double>::Identity(n, n);
    A.diagonal() = diagonal;
    A.diagonal(1) = beside;
    A.diagonal(-1) = beside;
    const double rounding = kEps * A.norm();
    double left = rounding;
    for (int sweep = 0; sweep < 60; ++sweep) {
        left = 0;
        for (Index q = 1; q < n; ++q) left = std::max(left, A.col(q).head(q).cwiseAbs().maxCoeff());
        if (left <= rounding) break;
        for (Index p = 0; p < n; ++p)
            for (Index q = p + 1; q < n; ++q) {
                Eigen::JacobiRotation<double> rotation;
                if (!rotation.makeJacobi(A, p, q)) continue;
                A.applyOnTheLeft(p, q, rotation.adjoint());
                A.applyOnTheRight(p, q, rotation);
                Q.applyOnTheRight(p, q, rotation);
            }
    }
    if (!(left <= rounding)) throw NumericalError("eigenvalues did not converge");
    const Vector<double> unsorted = A.diagonal();
    const std::vector<Index> order = ascending(unsorted);
    for (Index i = 0; i < n; ++i) {
        values[i] = unsorted[order[static_cast<std::size_t>(i)]];
        vectors.col(i) = Q.col(order[static_cast<std::size_t>(i)]);
    }
}

class DivideAndConquer {
 public:
    DivideAndConquer(const Vector<double>& diagonal, const Vector<double>& beside) : e_(beside) {
        result_.values = diagonal;
        result_.vectors = Matrix<double>::Zero(diagonal.size(), diagonal.size());
    }

    Eigendecomposition run(Index wanted) {
        const Index n = result_.values.size();
        std::vector<std::pair<Index, Index>> tasks;
        tear(0, n, tasks);
        parallel_for(static_cast<Index>(tasks.size()), [&](Index i) {
            const auto [start, size] = tasks[static_cast<std::size_t>(i)];
            solve(start, size, 0, size);
        });
        solve(0, n, kTask, wanted);
        return {std::move(result_.values), result_.vectors.rightCols(wanted)};
    }

 private:
    // Takes |e| from the diagonal on both sides of every cut; lists the parts that are one task.
    void tear(Index start, Index size, std::vector<std::pair<Index, Index>>& tasks) {
        if (size <= kTask && (tasks.empty() || tasks.back().first + tasks.back().second <= start)) {
            tasks.emplace_back(start, size);
        }
        if (size <= kLeafSize) return;
        const Index half = size / 2, cut = start + half;
        const double e = std::abs(e_[cut - 1]);
        result_.values[cut - 1] -= e;
        result_.values[cut] -= e;
        tear(start, half, tasks);
        tear(cut, size - half, tasks);
    }

    // Solves a part, of which parts of up to `done` are solved.
    void solve(Index start, Index size, Index done, Index wanted) {
        if (size <= done) return;
        auto values = result_.values.segment(start, size);
        auto Q = result_.vectors.block(start, start, size, size);
        if (size <= kLeafSize) {
            Eigen::SelfAdjointEigenSolver<Matrix<double>> leaf;
            const Vector<double> diagonal = values, beside = e_.segment(start, size - 1);
            leaf.computeFromTridiagonal(diagonal, beside);
            if (leaf.info() != Eigen::Success) {
                // Entries are judged beside their neighbours: among those that are rounding of zeros this may
                // go on past the limit.
                by_rotations(diagonal, beside, values, Q);
                return;
            }
            values = leaf.eigenvalues();
            Q = leaf.eigenvectors();
            return;
        }
        const Index half = size / 2;
        solve(start, half, done, half);
        solve(start + half, size - half, done, size - half);
        Merge({values, Q}, half, e_[start + half - 1]).run(wanted);
    }

    const Vector<double>& e_;
    Eigendecomposition result_;
};

}  // namespace

Eigendecomposition tridiagonal_eigendecomposition(const Vector<double>& diagonal,
                                                  const Vector<double>& beside, Index wanted) {
    return DivideAndConquer(diagonal, beside).run(wanted);
}

}  // namespace fastcca
