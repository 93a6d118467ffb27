// What the engines of the hinge loss share: prepared operands, and the gradients before they are finished.
//
// Both distances come down to scores q_c = z·u_c + bias_c with
//     D(z, u_p) − D(z, u_c) = slope (q_c − q_p)
//     Euclidean   bias_c = −‖u_c‖²/2, slope 2, z and u less the mean of U (which D does not see, and which
//                 would cost digits)
//     cosine      z and u of length 1, bias 0, slope 1
// and, with the weights W_ci = −dLoss/dD(z_i, u_c), whose sum over c is 0, the gradients to products
//     P = U W (d × B),   Q = Z Wᵀ (d × K),   w_c = Σ_i W_ci
#pragma once

#include "fastcca/losses/hinge.hpp"

namespace fastcca {

template <typename T>
struct HingeOperands {
    Matrix<T> Z, U;                 // d × B and d × K
    Vector<T> bias;                 // K
    Vector<double> z_norm, u_norm;  // cosine: the lengths, 0 where there is no direction
    T slope = 1;
};

// P is the caller's, d × B; the other two start at zero.
template <typename T>
struct HingeSums {
    T* P = nullptr;
    Matrix<double> Q;
    Vector<double> w;
    HingeValue total;
    bool gradient() const { return P != nullptr; }
};

template <typename T>
double sample_weight(const HingeProblem<T>& problem, Index i) {
    return problem.weights ? problem.weights[i] : problem.weight;
}

// Each class against all other nodes.
template <typename T>
void flat_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& operands, HingeSums<T>& sums);

// The pairs of a table.
template <typename T>
void table_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& operands, HingeSums<T>& sums);

}  // namespace fastcca
