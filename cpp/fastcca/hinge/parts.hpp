// What the methods for the hinge loss have in common: prepared operands, and the last step of the gradients.
//
// Both distances come down to scores q_c = z·u_c + bias_c with
//     D(z, u_p) − D(z, u_c) = slope (q_c − q_p)
//     Euclidean   bias_c = −‖u_c‖²/2, slope 2, z and u less the mean of the rows of U (which D does not see,
//     and
//                 which would cost digits)
//     cosine      z and u of length 1, bias 0, slope 1
// and, with the weights W_ci = −dLoss/dD(z_i, u_c), whose sum over c is 0, the gradients to products
//     P = U W (d × B),   Q = Z Wᵀ (d × K),   w_c = Σ_i W_ci
//     Euclidean   dLoss/dz_i = 2 P_i,   dLoss/du_c = 2 (Q_c − w_c u_c)
//     cosine      P_i and Q_c, through the lengths
#pragma once

#include <algorithm>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/hinge/hinge.hpp"

namespace fastcca {

template <typename T>
struct HingeOperands {
    Scratch<T> Z, U;                // d × B and d × K
    Vector<T> bias;                 // K
    Vector<double> z_norm, u_norm;  // cosine: the lengths, 0 where there is no direction
    T slope = 1;

    HingeOperands(Index d, Index n_samples, Index n_nodes) : Z(d, n_samples), U(d, n_nodes), bias(n_nodes) {}
};

// Writes the gradients, where any are asked for, from columns of P and Q, which it overwrites. (Rounding may
// depend on the alignment of memory, so that nothing is computed in the caller's.)
template <typename T>
class HingeGradients {
 public:
    using Column = Eigen::Ref<Vector<T>>;

    HingeGradients(const HingeOperands<T>& operands, HingeSimilarity similarity, T* grad_Z, T* grad_U)
        : o_(operands), cosine_(similarity == HingeSimilarity::kCosine), grad_Z_(grad_Z), grad_U_(grad_U) {}

    bool wanted() const { return grad_Z_ != nullptr; }

    void set_sample(Index i, Column P) const {
        finish(o_.Z, o_.z_norm, i, T(0), P);
        std::copy(P.data(), P.data() + P.size(), grad_Z_ + i * P.size());
    }
    void set_node(Index c, double w, Column Q) const {
        finish(o_.U, o_.u_norm, c, static_cast<T>(w), Q);
        std::copy(Q.data(), Q.data() + Q.size(), grad_U_ + c * Q.size());
    }
    void add_node(Index c, double w, Column Q) const {
        finish(o_.U, o_.u_norm, c, static_cast<T>(w), Q);
        T* to = grad_U_ + c * Q.size();
        for (Index k = 0; k < Q.size(); ++k) to[k] += Q[k];
    }

 private:
    void finish(const Scratch<T>& X, const Vector<double>& norm, Index i, T w, Column g) const {
        const auto x = X.col(i);
        if (!cosine_) {
            g = T(2) * (g - w * x);
        } else if (norm[i] == 0) {
            g.setZero();
        } else {
            // Of a unit vector x = X/‖X‖: dL/dX = (g − x xᵀg) / ‖X‖ with g = dL/dx.
            g -= x.dot(g) * x;
            for (Index k = 0; k < g.size(); ++k) g[k] = static_cast<T>(static_cast<double>(g[k]) / norm[i]);
            if (norm[i] < 1 && !g.allFinite())
                throw NumericalError(
                    "the gradient of a cosine overflows: a vector is too short, scale Z and U up");
        }
    }

    const HingeOperands<T>& o_;
    bool cosine_;
    T *grad_Z_, *grad_U_;
};

template <typename T>
double sample_weight(const HingeProblem<T>& problem, Index i) {
    return problem.weights ? problem.weights[i] : problem.weight;
}

// The samples ordered by class: those of class c are order[start[c]] … order[start[c + 1] − 1].
struct SamplesByClass {
    std::vector<Index> start, order;

    SamplesByClass(const Index* y, Index n, Index n_classes)
        : start(static_cast<std::size_t>(n_classes) + 1, 0), order(static_cast<std::size_t>(n)) {
        for (Index i = 0; i < n; ++i) ++start[static_cast<std::size_t>(y[i]) + 1];
        for (std::size_t c = 1; c < start.size(); ++c) start[c] += start[c - 1];
        std::vector<Index> next(start.begin(), start.end() - 1);
        for (Index i = 0; i < n; ++i)
            order[static_cast<std::size_t>(next[static_cast<std::size_t>(y[i])]++)] = i;
    }
    const Index* begin(Index c) const { return order.data() + start[static_cast<std::size_t>(c)]; }
    Index count(Index c) const {
        return start[static_cast<std::size_t>(c) + 1] - start[static_cast<std::size_t>(c)];
    }
};

// kSum and kRank of each class against all other nodes.
template <typename T>
HingeValue sweep_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& operands,
                       const HingeGradients<T>& gradients);

// The other losses of each class against all other nodes.
template <typename T>
HingeValue flat_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& operands,
                      const HingeGradients<T>& gradients);

// The pairs of a table.
template <typename T>
HingeValue table_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& operands,
                       const HingeGradients<T>& gradients);

}  // namespace fastcca
