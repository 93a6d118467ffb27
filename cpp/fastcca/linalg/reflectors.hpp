// Householder reflectors H = I − τ v vᵀ gathered in blocks, which are applied by products. Within linalg
// only.
#pragma once

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// A block reflector H = H₁ H₂ … H_b = I − V T Vᵀ (Schreiber and Van Loan, "A storage-efficient WY
// representation", 1989). V (rows ≥ cols) is unit lower trapezoidal, T upper triangular; what lies on and
// above V's diagonal in the memory is not read. C ← Hᵀ C (kTranspose) or C ← H C, on the calling thread.
void apply_reflector(ConstRef<double> V, ConstRef<double> T, Op op, MutableRef<double> C);

// T for the reflectors V and their τ.
Matrix<double> reflector_factor(ConstRef<double> V, const Vector<double>& tau);

}  // namespace fastcca
