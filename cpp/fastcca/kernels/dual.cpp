#include "fastcca/kernels/dual.hpp"

#include <algorithm>
#include <cmath>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/random.hpp"

namespace fastcca {
namespace {

constexpr Index kColumns = 64;       // of K that a task centres
constexpr double kResidual = 1e-11;  // of an eigenpair, whose value is at most 1
constexpr Index kMaxBlocks = 60;

bool has_full_rank(const Matrix<double>& K, double tol) {
    Matrix<double> L = K;
    if (cholesky<double>(L) >= 0) return false;
    return L.diagonal().array().square().minCoeff() > std::max(tol, 1e-14) * K.trace();
}

// K ← H K H + c I,  H = I - 11ᵀ/n
void centre(Matrix<double>& K, double c) {
    const Index n = K.rows();
    const Vector<double> mean = K.colwise().mean().transpose();
    const double grand = mean.mean();
    parallel_for((n + kColumns - 1) / kColumns, [&](Index task) {
        const Index end = std::min(n, (task + 1) * kColumns);
        for (Index j = task * kColumns; j < end; ++j) {
            K.col(j).array() -= mean.array() + (mean[j] - grand);
            K(j, j) += c;
        }
    });
}

// One view: L of A = K + cI, K centred.
class View {
 public:
    View(Matrix<double>& K, double c, bool bach_jordan) : L_(K), c_(c), times_(bach_jordan ? 2 : 1) {
        centre(L_, c_);
        ok_ = cholesky<double>(L_) < 0;
    }
    bool ok() const { return ok_; }

    // A⁻¹ V
    Matrix<double> solve(Matrix<double> V) const {
        solve_lower<double>(L_, V);
        solve_lower_transposed<double>(L_, V);
        return V;
    }
    // P V = V - c A⁻¹ V, which has no constant part
    Matrix<double> shrink(const Matrix<double>& V) const {
        Matrix<double> out = V - c_ * solve(V);
        out.rowwise() -= out.colwise().mean();
        return out;
    }
    // P V or P² V
    Matrix<double> apply(const Matrix<double>& V) const {
        return times_ == 1 ? shrink(V) : shrink(shrink(V));
    }
    // α with K α = apply(V)
    Matrix<double> coefficients(const Matrix<double>& V) const {
        Matrix<double> alpha = solve(times_ == 1 ? V : shrink(V));
        alpha.rowwise() -= alpha.colwise().mean();
        return alpha;
    }

 private:
    Matrix<double>& L_;
    double c_;
    int times_;
    bool ok_ = false;
};

// C ← C - A B
void subtract(const Eigen::Ref<const Matrix<double>>& A, const Matrix<double>& B, Matrix<double>& C) {
    gemm<double>(-1, A, Op::kNone, B, Op::kNone, 1, C);
}

Matrix<double> product(const Eigen::Ref<const Matrix<double>>& A, const Matrix<double>& B) {
    Matrix<double> C(A.rows(), B.cols());
    gemm<double>(1, A, Op::kNone, B, Op::kNone, 0, C);
    return C;
}

// AᵀB for tall matrices
Matrix<double> cross(const Eigen::Ref<const Matrix<double>>& A, const Eigen::Ref<const Matrix<double>>& B) {
    Matrix<double> C(A.cols(), B.cols());
    gemm<double>(1, A, Op::kTranspose, B, Op::kNone, 0, C);
    return C;
}

}  // namespace

DualSolution solve_dual(Matrix<double>& Kx, Matrix<double>& Ky, const DualOptions& options) {
    DualSolution solution;
    const Index n = Kx.rows(), k = options.components;
    if (!has_full_rank(Kx, options.tol) || !has_full_rank(Ky, options.tol)) return solution;
    solution.full_rank = true;
    const View x(Kx, options.cx, options.bach_jordan), y(Ky, options.cy, options.bach_jordan);
    if (!x.ok() || !y.ok()) return solution;

    // Block Lanczos of O = Py Px in the inner product of Px. V: the basis, Y = Px V, H = YᵀOV.
    const Index width = k + 10;
    const Index most = std::min(kMaxBlocks, (n - 1) / width);
    Matrix<double> V(n, width * most), Y(n, width * most),
        H = Matrix<double>::Zero(width * most, width * most);
    Matrix<double> R = random_uniform(n, width), PR;
    R.rowwise() -= R.colwise().mean();
    R = y.apply(R);  // in the range of O
    Index size = 0;
    for (Index block = 0; block < most; ++block) {
        poll();
        // Orthonormal in Px, and to what is there: once against the basis before Px is applied, once after.
        if (size > 0) subtract(V.leftCols(size), cross(Y.leftCols(size), R), R);
        PR = x.apply(R);
        if (size > 0) {
            const Matrix<double> again = cross(Y.leftCols(size), R);
            subtract(V.leftCols(size), again, R);
            subtract(Y.leftCols(size), again, PR);
        }
        Matrix<double> gram = cross(R, PR);
        gram = (0.5 * (gram + gram.transpose())).eval();
        const Eigendecomposition g = eigendecomposition(gram);
        Index keep = 0;
        while (keep < width && g.values[width - 1 - keep] > 1e-13 * std::abs(g.values[width - 1])) ++keep;
        // Residuals of the eigenpairs so far: |R s| in the inner product of Px, s the pair's part in the last
        // block.
        if (size > 0 && (block > 4 || keep == 0) && (block % 3 == 2 || keep == 0 || block == most - 1)) {
            const Matrix<double> symmetric =
                0.5 * (H.topLeftCorner(size, size) + H.topLeftCorner(size, size).transpose());
            const Eigendecomposition ritz = eigendecomposition(symmetric);
            const Matrix<double> top = ritz.vectors.rightCols(std::min(k, size)).rowwise().reverse();
            const Matrix<double> last = top.bottomRows(std::min(width, size));
            double worst = 0;
            if (last.rows() == gram.rows()) worst = cross(last, product(gram, last)).diagonal().maxCoeff();
            if (std::sqrt(std::max(worst, 0.0)) <= kResidual && top.cols() == k) {
                const double root = std::sqrt(static_cast<double>(n - 1));
                const Matrix<double> v = product(V.leftCols(size), top), px = product(Y.leftCols(size), top);
                solution.singular_values =
                    ritz.values.tail(k).reverse().cwiseMax(0).cwiseSqrt().cwiseMin(1.0);
                const Vector<double> inverse =
                    solution.singular_values.cwiseMax(1e-300).cwiseInverse() * root;
                solution.x_coefficients = x.coefficients(v) * root;
                solution.x_scores = px * root;
                solution.y_coefficients = y.coefficients(px) * inverse.asDiagonal();
                solution.y_scores = y.apply(px) * inverse.asDiagonal();
                solution.converged = true;
                return solution;
            }
        }
        if (keep < width) return solution;  // the space is exhausted: a case for the general solver
        const Matrix<double> basis = g.vectors * g.values.cwiseSqrt().cwiseInverse().asDiagonal();
        V.middleCols(size, width) = product(R, basis);
        Y.middleCols(size, width) = product(PR, basis);
        R = y.apply(Y.middleCols(size, width));
        H.block(0, size, size + width, width) = cross(Y.leftCols(size + width), R);
        H.block(size, 0, width, size) = H.block(0, size, size, width).transpose();
        size += width;
    }
    return solution;
}

}  // namespace fastcca
