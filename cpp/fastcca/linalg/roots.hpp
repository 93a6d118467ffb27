// Functions of a matrix by its singular or eigenvalues: the inverse square root and the polar factor.
#pragma once

#include <limits>

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// S^(−1/2) for symmetric positive semi-definite S (the lower triangle is read): Σ λ^(−1/2) v vᵀ over the
// eigenvalues λ > floor · λ_max. Directions at or below the floor are dropped, so that of a singular S this
// is the root of the pseudo-inverse. Throws NumericalError where an eigenvalue lies below −floor · λ_max.
Matrix<double> inverse_sqrt(ConstRef<double> S, double floor);

// The orthogonal polar factor of T = P H, the nearest matrix with orthonormal columns (rows where T is wide):
// P = Σ u vᵀ over the singular triplets of T. Of a rank-deficient T it is the partial isometry: triplets with
// s ≤ eps · max(m, n) · s₁ are dropped, since their vectors are arbitrary; eps is the precision T is known
// to.
Matrix<double> polar(ConstRef<double> T, double eps = std::numeric_limits<double>::epsilon());

}  // namespace fastcca
