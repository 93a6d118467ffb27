// Eigenvalues of a diagonal matrix plus one of rank one. Within linalg only.
#pragma once

#include <vector>

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// The eigenvalues λ (ascending) of diag(d) + ρ z zᵀ, for strictly ascending d, no zero in z, and ρ > 0, and
// the differences d_i − λ_j, each to full relative accuracy.
struct SecularRoots {
    Vector<double> values;
    Matrix<double> gaps;
};
SecularRoots secular_roots(const Vector<double>& d, const Vector<double>& z, double rho);

// The eigenvectors of the eigenvalues from index `first` on. In row i stands coordinate order[i].
Matrix<double> secular_vectors(const Vector<double>& d, const Vector<double>& z, const Matrix<double>& gaps,
                               const std::vector<Index>& order, Index first);

}  // namespace fastcca
