// Large-margin losses of an embedding: samples z (rows of Z) near the node u of their class (rows of U), far
// from the other nodes.
//
// With a distance D, either ‖z − u‖² or minus the cosine of the angle, a sample of class y, a positive node
// p and its negative nodes c with margins Δ(y, c), the violations are
//     v_c = Δ(y, c) + D(z, u_p) − D(z, u_c)
// and the loss of the pair (p, negatives) is one of
//     kSum      Σ_c [v_c]₊
//     kWorst    max_c [v_c]₊
//     kSemiHard [v_c]₊ of the largest v_c among the c with D(z, u_c) > D(z, u_p), or, where there is none, of
//               the smallest v_c (Schroff, Kalenichenko and Philbin, 2015)
//     kRank     L(r)/r Σ_c [v_c]₊, where r counts the v_c > 0 and L(r) = 1 + 1/2 + … + 1/r
//     kSampled  L(⌊m/t⌋) [v_c]₊ for the first violator c among at most m draws from the m negatives, found at
//               draw t (WARP: Weston, Bengio and Usunier, 2011); kRank with its sum is what it estimates
//     kSoftmax  log(1 + Σ_c exp(D(z, u_p) − D(z, u_c))), without a margin; what counts as a violation is a
//               negative node nearer than the positive one
// The weights L are held constant in the gradient. Which pairs a sample has is a matter of its class: by
// default one, its own node against all others; or those of a table.
#pragma once

#include <cstdint>

#include "fastcca/base/types.hpp"

namespace fastcca {

enum class HingeSimilarity { kEuclidean, kCosine };
enum class HingeLoss { kSum, kWorst, kSemiHard, kRank, kSampled, kSoftmax };

// Class y has the pairs class_start[y] … class_start[y + 1] − 1; pair j the node positive[j] and the nodes
// negatives[negative_start[j] … negative_start[j + 1] − 1].
struct ConstraintTable {
    Index n_classes = 0;
    const Index* class_start = nullptr;
    const Index* positives = nullptr;
    const Index* negative_start = nullptr;
    const Index* negatives = nullptr;
};

template <typename T>
struct HingeProblem {
    MatrixView<T> Z;                  // B × d
    MatrixView<T> U;                  // K × d
    const Index* y = nullptr;         // B classes; without a table, rows of U
    const double* weights = nullptr;  // B factors of the samples' losses; nullptr: all are `weight`
    double weight = 1;
    double margin = 1;
    MatrixView<T> costs;                     // Δ: classes × K, or without data: `margin` everywhere
    const ConstraintTable* table = nullptr;  // nullptr: each class against all other rows of U
    HingeSimilarity similarity = HingeSimilarity::kEuclidean;
    HingeLoss loss = HingeLoss::kSum;
    std::uint64_t seed = 0;  // of the draws of kSampled
};

struct HingeValue {
    double value = 0;
    Index violations = 0;
};

// The gradients are row major, B × d and K × d; both nullptr: the value alone. A vector of zeros has cosine
// 0 with everything, and no gradient. Throws NonFiniteError (view 0: Z, 1: U), std::invalid_argument for a
// class out of range.
template <typename T>
HingeValue hinge_loss(const HingeProblem<T>& problem, T* grad_Z, T* grad_U);

}  // namespace fastcca
