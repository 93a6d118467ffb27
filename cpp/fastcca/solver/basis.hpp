// Orthonormal bases of centred data, without forming its covariance.
#pragma once

#include "fastcca/solver/centring.hpp"
#include "fastcca/solver/solution.hpp"

namespace fastcca {

// F with T = F₁ᵀ F₂, and the view that goes with it. At r = 0 the columns of F are orthonormal; a ridge
// shrinks the direction of singular value s by s / √(s² + r(N-1)).
struct Basis {
    WhitenedView view;
    Matrix<double> F;
};

// From A (m, d): centred data whose columns have unit norm, or the triangle that an orthogonal transformation
// of its rows left.
Basis orthogonal_basis(const Matrix<double>& A, const CentredView& source, double r);

// The same from the n × n matrix K = A Aᵀ of a view with more columns than rows; eigenvalues below eps·n·λmax
// are dropped.
Basis gram_basis(const CentredView& source, double r);

}  // namespace fastcca
