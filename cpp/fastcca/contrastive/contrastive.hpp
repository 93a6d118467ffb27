// Contrastive losses of two batches of rows a_i and b_j, of which a_i and b_own(i) are a pair, own(i) = shift
// + i.
//
// With the scores s_ij = scale x_i·y_j + bias of the rows x_i, y_j (of length 1 for the cosine) the loss is,
// with weights ω of the rows of a and ψ of the rows of b,
//     kSoftmax  Σ_i ω_i (log Σ_j exp s_ij − s̄_i) + Σ_j ψ_j (log Σ_i exp s_ij − s̄_j)
//     kSigmoid  Σ_ij (ω_i + ψ_j) log(1 + exp(−z_ij s_ij)),  z_ij = 1 for positives and −1 for negatives
// where s̄_i is the mean of s_ij over the positives of i. Without codes a row has one positive, its pair, and
// all others are negatives. Codes are those of
//     items     rows of one item, but for the pair, are left out of the sums
//     labels    rows of one label are positives of each other
// (InfoNCE and CLIP: van den Oord, Li and Vinyals, 2018; Radford et al., 2021; SigLIP: Zhai et al., 2023;
// labels: Khosla et al., 2020.)
//
// The scores are computed in tiles and never kept: once for the sums of kSoftmax, once for the gradients. Let
// W_ij = dLoss/ds_ij. Then
//     dLoss/dx_i = scale Σ_j W_ij y_j,  dLoss/dscale = Σ_i x_i·Σ_j W_ij y_j,  dLoss/dbias = Σ_ij W_ij.
#pragma once

#include "fastcca/base/types.hpp"

namespace fastcca {

enum class ContrastiveLoss { kSoftmax, kSigmoid };
enum class ContrastiveSimilarity { kCosine, kDot };
enum class ContrastiveCodes { kItems, kLabels };

template <typename T>
struct ContrastiveProblem {
    MatrixView<T> A;                 // n_a × d
    MatrixView<T> B;                 // n_b × d
    Index shift = 0;                 // row i of A is the pair of row shift + i of B
    const Index* a_codes = nullptr;  // from 0; both or neither
    const Index* b_codes = nullptr;
    ContrastiveCodes codes = ContrastiveCodes::kItems;
    const double* a_weights = nullptr;  // nullptr: all are a_weight
    const double* b_weights = nullptr;
    double a_weight = 0;
    double b_weight = 0;  // not zero, or b_weights: for kSoftmax all rows of B need a pair
    double scale = 1;
    double bias = 0;
    ContrastiveLoss loss = ContrastiveLoss::kSoftmax;
    ContrastiveSimilarity similarity = ContrastiveSimilarity::kCosine;
};

struct ContrastiveValue {
    double value = 0, scale_slope = 0, bias_slope = 0;  // the slopes with the gradients alone
};

// The gradients are row major, n_a × d and n_b × d; both nullptr: the value alone. A row of zeros has cosine
// 0 with everything, and no gradient. Throws NonFiniteError (view 0: A, 1: B), NumericalError for scores or
// gradients that overflow.
template <typename T>
ContrastiveValue contrastive_loss(const ContrastiveProblem<T>& problem, T* grad_A, T* grad_B);

}  // namespace fastcca
