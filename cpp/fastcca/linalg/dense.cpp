#include "fastcca/linalg/dense.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "fastcca/base/scratch.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/packed_product.hpp"
#include "fastcca/linalg/transpose.hpp"

namespace fastcca {
namespace {

// Below this many flops a product runs on the calling thread: waking a worker takes longer.
constexpr double kInlineFlops = 2e6;
// Triangular solves recurse down to this size, Cholesky to the same.
constexpr Index kLeaf = 192;
// At most this many terms of a product's sum between two polls.
constexpr Index kDepth = 8192;

// Parts of nearly equal size, none above `side`.
struct Parts {
    Index size, count;
    Parts(Index n, Index side) : size(n), count((n + side - 1) / side) {}
    // In multiples of eight, which suit the packets of every level.
    Index begin(Index i) const { return i == count ? size : (size * i / count) & ~Index{7}; }
    Index length(Index i) const { return begin(i + 1) - begin(i); }
};

double flops(Index m, Index n, Index k) {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

// Rows start … of op(A), and its columns, as slices of A.
template <typename T>
ConstRef<T> rows_of(const ConstRef<T>& A, Op op, Index start, Index count) {
    if (op == Op::kNone) return A.middleRows(start, count);
    return A.middleCols(start, count);
}
template <typename T>
ConstRef<T> cols_of(const ConstRef<T>& A, Op op, Index start, Index count) {
    return rows_of<T>(A, op == Op::kNone ? Op::kTranspose : Op::kNone, start, count);
}

// A long sum with a small result: blocks of the sum with results of their own, added in order.
template <typename T>
void split_sum_gemm(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C,
                    Index n_blocks) {
    const Index depth = op_a == Op::kNone ? A.cols() : A.rows();
    const Parts parts(depth, (depth + n_blocks - 1) / n_blocks);
    std::vector<Matrix<T>> sums(static_cast<std::size_t>(parts.count));
    parallel_for(parts.count, [&](Index i) {
        auto& sum = sums[static_cast<std::size_t>(i)];
        sum.resize(C.rows(), C.cols());
        serial_gemm<T>(alpha, cols_of<T>(A, op_a, parts.begin(i), parts.length(i)), op_a,
                       rows_of<T>(B, op_b, parts.begin(i), parts.length(i)), op_b, T(0), sum);
    });
    if (beta == T(0)) {
        C.setZero();
    } else if (beta != T(1)) {
        C *= beta;
    }
    for (const auto& sum : sums) C += sum;
}

// The upper triangle from the lower one, by square blocks.
template <typename T>
void mirror(MutableRef<T> C) {
    constexpr Index kSide = 64;
    const Index n = C.rows(), stride = C.outerStride();
    const auto column_block = [&](Index part) {
        const Index c = part * kSide, width = std::min(kSide, n - c);
        for (Index j = c; j < c + width; ++j)
            for (Index i = c; i < j; ++i) C(i, j) = C(j, i);
        for (Index r = 0; r < c; r += kSide)
            transpose(&C.coeffRef(c, r), stride, width, kSide, &C.coeffRef(r, c), stride);
    };
    const Index blocks = (n + kSide - 1) / kSide;
    if (n <= 256) {
        for (Index part = 0; part < blocks; ++part) column_block(part);
    } else {
        parallel_for(blocks, column_block);
    }
}

// The lower triangle of C ← α op(A) op(B) + β C on this thread.
template <typename T>
void serial_lower(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C) {
    if (op_a == Op::kTranspose && op_b == Op::kTranspose)
        return serial_lower<T>(alpha, Matrix<T>(A.transpose()), Op::kNone, B, op_b, beta, C);
    const Index depth = op_a == Op::kNone ? A.cols() : A.rows();
    auto lower = C.template triangularView<Eigen::Lower>();
    if (beta == T(0)) {
        lower.setZero();
    } else if (beta != T(1)) {
        C *= beta;
    }
    for (Index k = 0; k < depth; k += kDepth) {
        const Index d = std::min(kDepth, depth - k);
        const ConstRef<T> a = cols_of<T>(A, op_a, k, d), b = rows_of<T>(B, op_b, k, d);
        if (op_a == Op::kNone && op_b == Op::kNone) lower += alpha * a * b;
        if (op_a == Op::kTranspose && op_b == Op::kNone) lower += alpha * a.transpose() * b;
        if (op_a == Op::kNone && op_b == Op::kTranspose) lower += alpha * a * b.transpose();
        if (k + d < depth) poll();
    }
}

}  // namespace

template <typename T>
void serial_gemm(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C) {
    // Aᵀ Bᵀ, which nobody needs to be fast, is one form of Eigen's products less to compile.
    if (op_a == Op::kTranspose && op_b == Op::kTranspose)
        return serial_gemm<T>(alpha, Matrix<T>(A.transpose()), Op::kNone, B, op_b, beta, C);
    const Index depth = op_a == Op::kNone ? A.cols() : A.rows();
    if (beta == T(0)) {
        C.setZero();
    } else if (beta != T(1)) {
        C *= beta;
    }
    for (Index k = 0; k < depth; k += kDepth) {
        const Index d = std::min(kDepth, depth - k);
        const ConstRef<T> a = cols_of<T>(A, op_a, k, d), b = rows_of<T>(B, op_b, k, d);
        if (op_a == Op::kNone && op_b == Op::kNone) C.noalias() += alpha * a * b;
        if (op_a == Op::kTranspose && op_b == Op::kNone) C.noalias() += alpha * a.transpose() * b;
        if (op_a == Op::kNone && op_b == Op::kTranspose) C.noalias() += alpha * a * b.transpose();
        if (k + d < depth) poll();
    }
}

template <typename T>
void gemm(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C) {
    const Index m = C.rows(), n = C.cols(), depth = op_a == Op::kNone ? A.cols() : A.rows();
    if (m == 0 || n == 0) return;
    if (flops(m, n, depth) < kInlineFlops) return serial_gemm<T>(alpha, A, op_a, B, op_b, beta, C);
    if (m * n <= Index{128} * 128 && depth >= 2048) {
        return split_sum_gemm<T>(alpha, A, op_a, B, op_b, beta, C, std::min<Index>(16, depth / 1024));
    }
    packed_product<T>(alpha, A, op_a, B, op_b, beta, C, Part::kAll);
}

template <typename T>
void lower_product(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C) {
    const Index n = C.rows(), depth = op_a == Op::kNone ? A.cols() : A.rows();
    if (n == 0) return;
    if (flops(n, n, depth) < kInlineFlops) return serial_lower<T>(alpha, A, op_a, B, op_b, beta, C);
    packed_product<T>(alpha, A, op_a, B, op_b, beta, C, Part::kLower);
}

namespace {

// B ← op(L)⁻¹ B (from the left) or B ← B op(L)⁻¹ (from the right), on this thread.
template <typename T, bool kLeft, Op kOp>
void serial_solve(ConstRef<T> L, MutableRef<T> B) {
    constexpr int kSide = kLeft ? Eigen::OnTheLeft : Eigen::OnTheRight;
    if constexpr (kOp == Op::kNone) {
        L.template triangularView<Eigen::Lower>().template solveInPlace<kSide>(B);
    } else {
        L.transpose().template triangularView<Eigen::Upper>().template solveInPlace<kSide>(B);
    }
}

// Right-hand sides are independent: the columns of B from the left, its rows from the right. Halving L
//     [L₁₁  0 ] [X₁]   [B₁]        X₁ = L₁₁⁻¹ B₁
//     [L₂₁ L₂₂] [X₂] = [B₂]   ⇒    X₂ = L₂₂⁻¹ (B₂ − L₂₁ X₁)
// leaves almost all of the work to products; the three other cases are its mirror images.
template <typename T, bool kLeft, Op kOp>
void solve(ConstRef<T> L, MutableRef<T> B) {
    const Index n = L.rows(), n_rhs = kLeft ? B.cols() : B.rows();
    if (n == 0 || n_rhs == 0) return;
    const auto part = [&](Index start, Index count) -> MutableRef<T> {
        if constexpr (kLeft) return B.middleRows(start, count);
        return B.middleCols(start, count);
    };
    if (n <= kLeaf) {
        if (flops(n, n, n_rhs) < 2 * kInlineFlops) return serial_solve<T, kLeft, kOp>(L, B);
        const Parts parts(n_rhs, std::max<Index>(64, std::min<Index>(256, n_rhs / 8)));
        return parallel_for(parts.count, [&](Index i) {
            if constexpr (kLeft) {
                serial_solve<T, kLeft, kOp>(L, B.middleCols(parts.begin(i), parts.length(i)));
            } else {
                serial_solve<T, kLeft, kOp>(L, B.middleRows(parts.begin(i), parts.length(i)));
            }
        });
    }
    const Index half = ((n / 2 + 31) / 32) * 32;
    const auto L11 = L.topLeftCorner(half, half);
    const auto L21 = L.bottomLeftCorner(n - half, half);
    const auto L22 = L.bottomRightCorner(n - half, n - half);
    // Forwards for L⁻¹B and BL⁻ᵀ, where the first part does not need the second.
    if constexpr (kLeft == (kOp == Op::kNone)) {
        solve<T, kLeft, kOp>(L11, part(0, half));
        if constexpr (kLeft) {
            gemm<T>(T(-1), L21, kOp, part(0, half), Op::kNone, T(1), part(half, n - half));
        } else {
            gemm<T>(T(-1), part(0, half), Op::kNone, L21, kOp, T(1), part(half, n - half));
        }
        solve<T, kLeft, kOp>(L22, part(half, n - half));
    } else {
        solve<T, kLeft, kOp>(L22, part(half, n - half));
        if constexpr (kLeft) {
            gemm<T>(T(-1), L21, kOp, part(half, n - half), Op::kNone, T(1), part(0, half));
        } else {
            gemm<T>(T(-1), part(half, n - half), Op::kNone, L21, kOp, T(1), part(0, half));
        }
        solve<T, kLeft, kOp>(L11, part(0, half));
    }
}

// Column by column: l_jj = √(s_jj − Σ l_jk²), l_ij = (s_ij − Σ l_ik l_jk) / l_jj.
template <typename T>
Index unblocked_cholesky(MutableRef<T> S) {
    const Index n = S.rows();
    for (Index j = 0; j < n; ++j) {
        const Index below = n - j - 1;
        const T pivot = S(j, j) - S.row(j).head(j).squaredNorm();
        if (!(pivot > T(0)) || !std::isfinite(pivot)) return j;
        S(j, j) = std::sqrt(pivot);
        if (below == 0) break;
        auto column = S.col(j).tail(below);
        if (j > 0) column.noalias() -= S.bottomLeftCorner(below, j) * S.row(j).head(j).transpose();
        column /= S(j, j);
    }
    return -1;
}

// Halving S: L₁₁ = chol(S₁₁), L₂₁ = S₂₁ L₁₁⁻ᵀ, L₂₂ = chol(S₂₂ − L₂₁ L₂₁ᵀ). The upper triangle is scratch.
template <typename T>
Index lower_cholesky(MutableRef<T> S) {
    const Index n = S.rows();
    if (n <= 32) return unblocked_cholesky<T>(S);
    const Index half = ((n / 2 + 15) / 16) * 16;
    Index failed = lower_cholesky<T>(S.topLeftCorner(half, half));
    if (failed >= 0) return failed;
    solve<T, false, Op::kTranspose>(S.topLeftCorner(half, half), S.bottomLeftCorner(n - half, half));
    const auto L21 = S.bottomLeftCorner(n - half, half);
    lower_product<T>(T(-1), L21, Op::kNone, L21, Op::kTranspose, T(1),
                     S.bottomRightCorner(n - half, n - half));
    failed = lower_cholesky<T>(S.bottomRightCorner(n - half, n - half));
    return failed < 0 ? -1 : half + failed;
}

}  // namespace

template <typename T>
void symmetric_product(T alpha, ConstRef<T> A, Op op_a, T beta, MutableRef<T> C) {
    known_symmetric_product<T>(alpha, A, op_a, A, op_a == Op::kNone ? Op::kTranspose : Op::kNone, beta, C);
}

template <typename T>
void known_symmetric_product(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta,
                             MutableRef<T> C) {
    lower_product<T>(alpha, A, op_a, B, op_b, beta, C);
    mirror<T>(C);
}

template <typename T>
Index cholesky(MutableRef<T> S) {
    const Index failed = lower_cholesky<T>(S);
    for (Index j = 1; j < S.cols(); ++j) S.col(j).head(j).setZero();
    return failed;
}

// Halving L:  [L₁₁  0 ]⁻¹   [       L₁₁⁻¹        0  ]
//             [L₂₁ L₂₂]   = [−L₂₂⁻¹ L₂₁ L₁₁⁻¹  L₂₂⁻¹]
template <typename T>
void invert_lower(MutableRef<T> L) {
    const Index n = L.rows();
    if (n <= 16) {
        // L X = I column by column; a column of X takes the place of one of L that is no longer needed.
        for (Index j = n - 1; j >= 0; --j) {
            const Index below = n - j - 1;
            const T pivot = T(1) / L(j, j);
            auto column = L.col(j).tail(below);
            column = (L.bottomRightCorner(below, below) * column * -pivot).eval();
            L(j, j) = pivot;
        }
        return;
    }
    const Index half = ((n / 2 + 7) / 8) * 8, rest = n - half;
    auto L11 = L.topLeftCorner(half, half), L22 = L.bottomRightCorner(rest, rest),
         L21 = L.bottomLeftCorner(rest, half);
    invert_lower<T>(L11);
    invert_lower<T>(L22);
    Scratch<T> product(rest, half);
    gemm<T>(1, L21, Op::kNone, L11, Op::kNone, 0, product);
    gemm<T>(-1, L22, Op::kNone, product, Op::kNone, 0, L21);
}

template <typename T>
void solve_lower(ConstRef<T> L, MutableRef<T> B) {
    solve<T, true, Op::kNone>(L, B);
}
template <typename T>
void solve_lower_transposed(ConstRef<T> L, MutableRef<T> B) {
    solve<T, true, Op::kTranspose>(L, B);
}
template <typename T>
void solve_lower_right(ConstRef<T> L, MutableRef<T> B) {
    solve<T, false, Op::kNone>(L, B);
}
template <typename T>
void solve_lower_transposed_right(ConstRef<T> L, MutableRef<T> B) {
    solve<T, false, Op::kTranspose>(L, B);
}

#define FASTCCA_INSTANTIATE(T)                                                                       \
    template void known_symmetric_product<T>(T, ConstRef<T>, Op, ConstRef<T>, Op, T, MutableRef<T>); \
    template void serial_gemm<T>(T, ConstRef<T>, Op, ConstRef<T>, Op, T, MutableRef<T>);             \
    template void gemm<T>(T, ConstRef<T>, Op, ConstRef<T>, Op, T, MutableRef<T>);                    \
    template void symmetric_product<T>(T, ConstRef<T>, Op, T, MutableRef<T>);                        \
    template void solve_lower<T>(ConstRef<T>, MutableRef<T>);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE

template void lower_product<double>(double, ConstRef<double>, Op, ConstRef<double>, Op, double,
                                    MutableRef<double>);
template Index cholesky<double>(MutableRef<double>);
template void invert_lower<double>(MutableRef<double>);
template void solve_lower_transposed<double>(ConstRef<double>, MutableRef<double>);
template void solve_lower_right<double>(ConstRef<double>, MutableRef<double>);
template void solve_lower_transposed_right<double>(ConstRef<double>, MutableRef<double>);

}  // namespace fastcca
