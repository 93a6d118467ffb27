// Kernel CCA with every row a landmark, from two n × n Cholesky factors and block iteration.
//
// Where the rank comes near n, moments of 2n features cost 4n³ flops; here a view costs n³/3 and each step
// of the iteration a few triangular solves. With centred K, A = K + cI and P = A⁻¹K = I - c A⁻¹:
//     ridge        max α₁ᵀK₁K₂α₂  with  αᵀ K (K + cI) α = 1    ⇒  P₂ P₁ v = ρ² v,     α₁ ∝ A₁⁻¹ v
//     Bach-Jordan  max α₁ᵀK₁K₂α₂  with  αᵀ (K + cI)² α = 1     ⇒  P₂² P₁² v = ρ² v,   α₁ ∝ A₁⁻¹ P₁ v
// The product of two is self-adjoint in the inner product of its right factor, so Lanczos' method applies:
// here by blocks, with full orthogonalisation and checked residuals.
#pragma once

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

struct DualOptions {
    bool bach_jordan = false;
    double cx = 0, cy = 0;  // c of either view, positive
    Index components = 1;
    // The factors of the kernels themselves must have squared pivots above tol · trace: rows that the
    // others explain should not be landmarks.
    double tol = 0;
};

struct DualSolution {
    bool full_rank = false;  // else nothing below is set
    bool converged = false;  // else nothing below is set
    Vector<double> singular_values;
    Matrix<double> x_coefficients, y_coefficients;  // α, of the centred kernels: columns sum to 0
    Matrix<double> x_scores, y_scores;              // centred K α
};

// Kx, Ky: kernel matrices over the same rows, not centred; overwritten. Scores have (penalised) variance 1.
DualSolution solve_dual(Matrix<double>& Kx, Matrix<double>& Ky, const DualOptions& options);

}  // namespace fastcca
