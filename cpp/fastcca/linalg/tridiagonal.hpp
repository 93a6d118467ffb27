// Eigenvalues of symmetric tridiagonal matrices. Within linalg only.
#pragma once

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// The eigenvalues (ascending) of the symmetric tridiagonal matrix with this diagonal and these entries beside
// it, and the eigenvectors of the `wanted` largest, by divide and conquer. Entries are finite and of
// magnitude about one.
Eigendecomposition tridiagonal_eigendecomposition(const Vector<double>& diagonal,
                                                  const Vector<double>& beside, Index wanted);

}  // namespace fastcca
