#include "fastcca/linalg/svd.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/qr.hpp"
#include "fastcca/linalg/random.hpp"

namespace fastcca {
namespace {

// W ← (I − Q Qᵀ) W, twice: the second pass removes what rounding left in the first.
void project_out(ConstRef<double> Q, MutableRef<double> W) {
    for (int twice = 0; twice < 2; ++twice) {
        gemm<double>(-1.0, Q, Op::kNone, product(Q, Op::kTranspose, W), Op::kNone, 1.0, W);
    }
}

// Columns that are orthonormal but for small errors E = QᵀQ − I become so to rounding:
//     Q ← Q (I − E/2), the first terms of the polar factor Q (I + E)^(−1/2).
void polish(MutableRef<double> Q) {
    Matrix<double> correction = Matrix<double>::Zero(Q.cols(), Q.cols());
    symmetric_product<double>(-0.5, Q, Op::kTranspose, 0.0, correction);
    correction.diagonal().array() += 1.5;
    Q = product(Q, Op::kNone, correction);
}

// An orthonormal basis of W's columns, orthogonal to the basis before it, and L with W = block · L but for
// what lies in that basis. Where W lacks rank, the block is completed by other directions.
struct Block {
    Matrix<double> basis;
    Matrix<double> factor;
};
Block orthonormal_block(ConstRef<double> before, Matrix<double> W) {
    const Index b = W.cols();
    Block block{std::move(W), Matrix<double>::Identity(b, b)};
    // A direction that cancellation left to chance may lie in the old basis: the later passes see to it.
    for (int pass = 0; pass < 3; ++pass) {
        if (before.cols() > 0) project_out(before, block.basis);
        block.factor = (qr_in_place(block.basis) * block.factor).eval();
    }
    return block;
}

// The leading `wanted` triplets, for rows ≥ cols and entries of magnitude about one. The eigenvectors V of
// AᵀA make the columns of A V orthogonal, with errors eps·s₁² in their products: relative to s_i s_j those
// are harmless among the columns that are not small. These give s and u; the small ones, if wanted, go round
// again, relative to the largest among them.
Svd tall_svd(ConstRef<double> A, Index wanted) {
    const Index p = A.rows(), q = A.cols();
    Svd svd{Matrix<double>(p, wanted), Vector<double>::Zero(wanted), Matrix<double>(q, wanted)};
    Matrix<double> W = A, V;  // W = (I − U Uᵀ) A V for vectors V orthogonal to those done; at first V = I
    Index done = 0;
    while (done < wanted) {
        const Index left = W.cols(), needed = wanted - done;
        Matrix<double> gram(left, left);
        symmetric_product<double>(1.0, W, Op::kTranspose, 0.0, gram);
        const double norm = std::sqrt(gram.trace());
        // What is left is rounding: the values are zero, and any orthonormal vectors belong to them.
        if (norm <= kEps * std::sqrt(static_cast<double>(q)) * svd.values[0] || norm == 0.0) {
            svd.U.rightCols(needed) =
                orthonormal_block(svd.U.leftCols(done), random_uniform(p, needed)).basis;
            if (done == 0) V = Matrix<double>::Identity(q, needed);
            svd.V.rightCols(needed) = V.leftCols(needed);
            break;
        }
        Matrix<double> rotation, turned;
        Vector<double> lengths;
        const auto turn = [&](Index count) {
            rotation = leading_eigenvectors(gram, count).vectors.rowwise().reverse();
            turned = product(W, Op::kNone, rotation);
            lengths = turned.colwise().norm();
        };
        turn(needed);
        // Among values this small, rounding has mixed the vectors wanted with those left out.
        if (needed < left && lengths[needed - 1] < 0.01 * lengths[0]) turn(left);
        Index keep = 1;
        while (keep < needed && lengths[keep] >= 0.1 * lengths[0]) ++keep;
        auto U = svd.U.middleCols(done, keep);
        U = turned.leftCols(keep) * lengths.head(keep).cwiseInverse().asDiagonal();
        polish(U);
        svd.values.segment(done, keep) = lengths.head(keep);
        V = V.size() == 0 ? rotation : product(V, Op::kNone, rotation);
        svd.V.middleCols(done, keep) = V.leftCols(keep);
        done += keep;
        V = V.rightCols(V.cols() - keep).eval();
        W = turned.rightCols(turned.cols() - keep);
        if (done < wanted) project_out(svd.U.leftCols(done), W);
    }
    // Rounding may have swapped neighbours that are equal but for rounding.
    for (Index i = 1; i < wanted; ++i) svd.values[i] = std::min(svd.values[i], svd.values[i - 1]);
    return svd;
}

// By full_svd's method, the leading k triplets alone.
Svd direct_svd(ConstRef<double> A, Index k) {
    if (A.rows() < A.cols()) {
        Svd svd = direct_svd(A.transpose(), k);
        std::swap(svd.U, svd.V);
        return svd;
    }
    if (k == 0) return {Matrix<double>(A.rows(), 0), Vector<double>(0), Matrix<double>(A.cols(), 0)};
    if (!A.allFinite()) throw NumericalError("singular values of a matrix with entries that are not finite");
    const double largest = A.cwiseAbs().maxCoeff();
    // A power of two near the largest entry: squares neither overflow nor underflow, nothing is rounded.
    const double unit = largest > 0.0 ? std::ldexp(1.0, std::ilogb(largest)) : 1.0;
    Svd svd = tall_svd(A / unit, k);
    svd.values *= unit;
    return svd;
}

void check_k(Index p, Index q, Index k) {
    const Index most = std::min(p, q);
    if (k < 0 || k > most) {
        throw std::invalid_argument("k must be between 0 and min(p, q) = " + std::to_string(most) + ", got " +
                                    std::to_string(k));
    }
}

// A few more directions than asked for: the k-th value then converges by its distance from the (b + 1)-th.
Index block_size(Index k) { return (k + 4 + 7) / 8 * 8; }

// The basis may grow to a third of the smaller side, beyond which the full decomposition is cheaper.
Index most_blocks(Index p, Index q, Index k) { return std::min(p, q) / (3 * block_size(k)); }

bool krylov_pays(Index p, Index q, Index k) {
    return k > 0 && std::min(p, q) >= 400 && most_blocks(p, q, k) >= 4;
}

// Block Golub–Kahan–Lanczos bidiagonalisation with full orthogonalisation: orthonormal blocks V_j, U_j with
//     A V_j   = U_j R_j + U_{j−1} L_jᵀ
//     Aᵀ U_j  = V_j R_jᵀ + V_{j+1} L_{j+1}
// so that A V = U B and Aᵀ U = V Bᵀ + V_{j+1} L_{j+1} E_jᵀ, with B upper block bidiagonal. Its basis spans
// the block Krylov space of Tropp and Webber, "Randomized algorithms for low-rank matrix approximation"
// (2023). With B = P S Qᵀ the triplets are (U P, S, V Q), and all of the residual is ‖L_{j+1} (last rows of
// P)‖. Nothing is returned where the basis grew too large before the residuals fell.
std::optional<Svd> block_krylov(const LinearOperator& A, Index k, double tol) {
    const Index b = block_size(k), most = most_blocks(A.rows, A.cols, k);
    Matrix<double> U(A.rows, most * b), V(A.cols, most * b), B = Matrix<double>::Zero(most * b, most * b);
    V.leftCols(b) = orthonormal_block(V.leftCols(0), random_uniform(A.cols, b)).basis;
    Index next_check = 3, last_check = 0;
    double last_residual = 1.0;
    for (Index j = 0; j < most; ++j) {
        const Index before = j * b, size = before + b;
        // U_j R_j = A V_j − U_{j−1} L_jᵀ
        const Block u = orthonormal_block(U.leftCols(before), A.apply(V.middleCols(before, b)));
        U.middleCols(before, b) = u.basis;
        B.block(before, before, b, b) = u.factor;
        // V_{j+1} L_{j+1} = Aᵀ U_j − V_j R_jᵀ
        const Block v = orthonormal_block(V.leftCols(size), A.apply_transposed(u.basis));
        poll();
        if (j + 1 >= next_check || j + 1 == most) {
            const Svd small = direct_svd(B.topLeftCorner(size, size), k);
            const double allowed = tol * small.values[0];
            const double residual = (v.factor * small.U.bottomRows(b)).colwise().norm().maxCoeff();
            if (residual <= allowed) {
                Svd svd{product(U.leftCols(size), Op::kNone, small.U.leftCols(k)), small.values.head(k),
                        product(V.leftCols(size), Op::kNone, small.V.leftCols(k))};
                // The claim is checked on A itself.
                const auto S = svd.values.asDiagonal();
                const double right = (A.apply(svd.V) - svd.U * S).colwise().norm().maxCoeff();
                const double left = (A.apply_transposed(svd.U) - svd.V * S).colwise().norm().maxCoeff();
                if (std::max(left, right) <= allowed) return svd;
            }
            // At even twice the pace since the last check the residual would not fall far enough.
            const double pace = std::log(last_residual / residual) / static_cast<double>(j + 1 - last_check);
            if (3 * (j + 1) >= most &&
                residual * std::exp(-2.0 * pace * static_cast<double>(most - j - 1)) > allowed) {
                return std::nullopt;
            }
            last_residual = residual;
            last_check = j + 1;
            next_check = j + 1 + std::max<Index>(1, j / 3);
        }
        if (j + 1 < most) {
            V.middleCols(size, b) = v.basis;
            B.block(before, size, b, b) = v.factor.transpose();
        }
    }
    return std::nullopt;
}

}  // namespace

Svd full_svd(ConstRef<double> A) { return direct_svd(A, std::min(A.rows(), A.cols())); }

Svd truncated_svd(const LinearOperator& A, Index k, double tol) {
    check_k(A.rows, A.cols, k);
    if (krylov_pays(A.rows, A.cols, k)) {
        if (auto svd = block_krylov(A, k, tol)) return *std::move(svd);
    }
    return direct_svd(A.apply(Matrix<double>::Identity(A.cols, A.cols)), k);
}

Svd truncated_svd(ConstRef<double> A, Index k, double tol) {
    check_k(A.rows(), A.cols(), k);
    if (krylov_pays(A.rows(), A.cols(), k)) {
        const LinearOperator products{A.rows(), A.cols(),
                                      [&](ConstRef<double> X) { return product(A, Op::kNone, X); },
                                      [&](ConstRef<double> X) { return product(A, Op::kTranspose, X); }};
        if (auto svd = block_krylov(products, k, tol)) return *std::move(svd);
    }
    return direct_svd(A, k);
}

}  // namespace fastcca
