// Singular value decompositions: whole, and of the leading k triplets.
#pragma once

#include <functional>

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// A ≈ U diag(values) Vᵀ: U (p × k) and V (q × k) have orthonormal columns, also where values are zero or
// repeated; values descend and are not negative.
struct Svd {
    Matrix<double> U;
    Vector<double> values;
    Matrix<double> V;
};

// All min(p, q) triplets. Residuals ‖A v − s u‖ and the error of the values are some 1e-14 · s₁.
Svd full_svd(ConstRef<double> A);

// A matrix known by its products alone.
struct LinearOperator {
    Index rows, cols;
    std::function<Matrix<double>(ConstRef<double>)> apply;             // X ↦ A X
    std::function<Matrix<double>(ConstRef<double>)> apply_transposed;  // X ↦ Aᵀ X
};

// The k leading triplets, with ‖A v − s u‖ ≤ tol · s₁ and ‖Aᵀu − s v‖ ≤ tol · s₁ checked for each. Block
// Krylov iteration; the full decomposition where A is small, k is not small against min(p, q), or the
// iteration has not converged when the full decomposition would have cost as much. Throws
// std::invalid_argument unless 0 ≤ k ≤ min(p, q).
Svd truncated_svd(ConstRef<double> A, Index k, double tol = 1e-12);

// The same for an operator; the full decomposition first forms the matrix.
Svd truncated_svd(const LinearOperator& A, Index k, double tol = 1e-12);

}  // namespace fastcca
