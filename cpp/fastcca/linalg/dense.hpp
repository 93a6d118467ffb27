// Dense building blocks on the pool: products, Cholesky, triangular solves, symmetric eigenvalues.
//
// All matrices are column-major with unit inner stride (any outer stride). Work is divided into tiles by
// shapes alone and each sum runs in one order, so results are bitwise equal for every thread count. Below
// some ten microseconds of work a call stays on its thread. Arguments are named explicitly by type,
// gemm<double>(...): an Eigen matrix, map or block converts without a copy; another expression in the place
// of a ConstRef is evaluated first.
#pragma once

#include "fastcca/base/types.hpp"

namespace fastcca {

template <typename T>
using ConstRef = Eigen::Ref<const Matrix<T>, 0, Eigen::OuterStride<>>;
template <typename T>
using MutableRef = Eigen::Ref<Matrix<T>, 0, Eigen::OuterStride<>>;

enum class Op { kNone, kTranspose };

// C ← α op(A) op(B) + β C. With β = 0, C is only written (it may hold anything before).
template <typename T>
void gemm(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C);

// The same on the calling thread, whatever the size: for use within tasks. Written once, so that Eigen's
// products, which take long to compile, are compiled once.
template <typename T>
void serial_gemm(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C);

// op(A) op(B), in a matrix of its own.
inline Matrix<double> product(ConstRef<double> A, Op op_a, ConstRef<double> B, Op op_b = Op::kNone) {
    Matrix<double> C(op_a == Op::kNone ? A.rows() : A.cols(), op_b == Op::kNone ? B.cols() : B.rows());
    gemm<double>(1.0, A, op_a, B, op_b, 0.0, C);
    return C;
}

// C ← α op(A) op(A)ᵀ + β C for symmetric C, of which the lower triangle is read; both are written.
template <typename T>
void symmetric_product(T alpha, ConstRef<T> A, Op op_a, T beta, MutableRef<T> C);

// C ← α op(A) op(B) + β C where the product is known to be symmetric: half of it is computed and mirrored.
template <typename T>
void known_symmetric_product(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta,
                             MutableRef<T> C);

// The lower triangle of C ← α op(A) op(B) + β C where the product is known to be symmetric; nothing is
// promised of what lies above the diagonal.
template <typename T>
void lower_product(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C);

// Matrices are factored in double, whatever the data are: from here on float has solve_lower alone.

// The lower Cholesky factor in place: reads the lower triangle of S, leaves L with zeros above the
// diagonal. Returns -1, or the index of the first pivot that is not positive (S is then half done).
template <typename T>
[[nodiscard]] Index cholesky(MutableRef<T> S);

// L ← L⁻¹ in place, with L lower triangular and zero above its diagonal.
template <typename T>
void invert_lower(MutableRef<T> L);

// B ← L⁻¹ B and B ← L⁻ᵀ B, with L lower triangular (nothing above its diagonal is read).
template <typename T>
void solve_lower(ConstRef<T> L, MutableRef<T> B);
template <typename T>
void solve_lower_transposed(ConstRef<T> L, MutableRef<T> B);

// B ← B L⁻¹ and B ← B L⁻ᵀ.
template <typename T>
void solve_lower_right(ConstRef<T> L, MutableRef<T> B);
template <typename T>
void solve_lower_transposed_right(ConstRef<T> L, MutableRef<T> B);

// Estimates of the extreme eigenvalues of L Lᵀ from its Cholesky factor: from below for the largest, from
// above for the smallest, commonly within a factor of two. Costs some twenty triangular matrix-vector
// products.
struct Extremes {
    double largest;
    double smallest;
    double condition() const { return largest / smallest; }
};
Extremes extreme_eigenvalues(ConstRef<double> L);

// S = V diag(λ) Vᵀ with λ ascending, V orthogonal. Reads the lower triangle. Throws NumericalError where S is
// not finite.
struct Eigendecomposition {
    Vector<double> values;
    Matrix<double> vectors;
};
Eigendecomposition eigendecomposition(ConstRef<double> S);

// All eigenvalues, and the eigenvectors of the `wanted` largest (n × wanted, in the order of the values).
Eigendecomposition leading_eigenvectors(ConstRef<double> S, Index wanted);

}  // namespace fastcca
