// The two methods that start from the data: for covariances too ill-conditioned to form (QR), and for more
// features than samples (Gram).
#pragma once

#include "fastcca/solver/centring.hpp"
#include "fastcca/solver/covariance.hpp"

namespace fastcca {

// Björck and Golub: T = Q₁ᵀ Q₂ from orthogonal factors of the data; a ridge appends rows √(r(N-1)) I.
Solution solve_qr(const CentredView& x, const CentredView& y, Index n_components, Penalty reg);

// From the n × n matrices X Xᵀ of the views that have more columns than rows; a thin view next to a wide one
// keeps its QR basis.
Solution solve_gram(const CentredView& x, const CentredView& y, Index n_components, Penalty reg);

}  // namespace fastcca
