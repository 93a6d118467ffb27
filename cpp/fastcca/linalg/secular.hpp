// Eigenvalues of a diagonal matrix plus one of rank one. Within linalg only.
#pragma once

#include <vector>

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// The eigenvalues λ (ascending) and eigenvectors of diag(d) + ρ z zᵀ, for strictly ascending d, no zero in z,
// and ρ > 0. In row i of the answer's vectors stands coordinate order[i].
Eigendecomposition secular_eigendecomposition(const Vector<double>& d, const Vector<double>& z, double rho,
                                              const std::vector<Index>& order);

}  // namespace fastcca
