// The correlation loss of Deep CCA with its gradients (Andrew, Arora, Bilmes and Livescu, ICML 2013).
//
// Of two views H₁ (m × d₁) and H₂ (m × d₂), centred, with
//     S_ii = H_iᵀH_i / (m − 1) + r_i I,   S₁₂ = H₁ᵀH₂ / (m − 1),   S_ii = L_i L_iᵀ,
//     T = L₁⁻¹ S₁₂ L₂⁻ᵀ = U D Vᵀ
// the objective is the sum of the k largest singular values of T, or of their squares; the loss is its
// negative. Its gradient is linear in the centred views,
//     [G₁ G₂] = [H₁ H₂] A,
// with a symmetric A of d₁ + d₂ rows that depends on the moments alone. Hence three steps: moments (a pass
// over the data), coefficients (small matrices), gradients (a pass). Workers that share a batch add their
// moments between the first and the second.
#pragma once

#include "fastcca/base/scratch.hpp"
#include "fastcca/linalg/dense.hpp"

namespace fastcca {

enum class CorrelationObjective { kTrace, kSquares };

struct CorrelationOptions {
    Index k = 0;  // the number of singular values, 1 … min(d₁, d₂)
    double reg1 = 0, reg2 = 0;
    CorrelationObjective objective = CorrelationObjective::kTrace;
    bool gradient = true;  // false: the value alone

    bool squares() const { return objective == CorrelationObjective::kSquares; }
};

template <typename S>
struct CorrelationCoefficients {
    double value = 0;        // of the loss
    Scratch<S> A{0, 0};      // empty where no gradient is asked for
    double precision = 0;    // to which value and A are known from moments: an estimate of the relative error
    bool by_factors = true;  // false: the Cholesky factors of the covariances did not do
};

// R with RᵀR = Σ (x − mean)(x − mean)ᵀ over the rows of [H₁ H₂], min(m, d₁ + d₂) × (d₁ + d₂): what an
// orthogonal factorisation leaves of the rows, in double. It knows directions whose squares the moments lose.
// Factors of parts about the mean of the whole, stacked, are a factor of the whole.
template <typename T>
Matrix<double> correlation_factor(const MatrixView<T>& H1, const MatrixView<T>& H2,
                                  const Vector<double>& mean);

// From the moments of the stacked views: n rows, mean, scatter = Σ (x − mean)(x − mean)ᵀ. `eps` is the
// precision of the data, `rounding` the relative error of the scatter's diagonal.
//
// By Cholesky factors where these are accurate and T is of full rank, else by the solution of CCA from the
// same moments, without the directions that a view lacks; from `factor`, where it has rows, a matrix with
// factorᵀ factor = scatter, as accurately as from the data themselves. Where the objective has no gradient a
// finite one is chosen: singular values of zero take no part (under kTrace the subgradient of least norm). At
// D_k = D_{k+1}, k below full rank, the gradient is that of the triplets which the SVD returns. A constant
// column with r_i = 0 is set aside: its gradient is zero.
//
// Throws NumericalError where a covariance is not positive definite.
CorrelationCoefficients<double> correlation_coefficients(double n, const Vector<double>& mean,
                                                         ConstRef<double> scatter, Index d1, double eps,
                                                         double rounding, const CorrelationOptions& options,
                                                         ConstRef<double> factor);

// G_i = the i-th block of columns of [H₁ − mean₁, H₂ − mean₂] A, row major, m × d_i. Sums are taken in S.
// Throws NumericalError where they overflow T.
template <typename T, typename S>
void correlation_gradients(const MatrixView<T>& H1, const MatrixView<T>& H2, const Vector<double>& mean,
                           ConstRef<S> A, T* G1, T* G2);

// The three steps on one batch; G1 and G2 are not touched when options.gradient is false. float32 data are
// multiplied in float32 and summed in double; where a view is so ill-conditioned that this would cost digits
// of the gradient, in double throughout. Where moments in double would cost digits too, or T lacks rank, an
// orthogonal factorisation of the data takes their place. Throws NonFiniteError too.
template <typename T>
double correlation_loss(const MatrixView<T>& H1, const MatrixView<T>& H2, const CorrelationOptions& options,
                        T* G1, T* G2);

}  // namespace fastcca
