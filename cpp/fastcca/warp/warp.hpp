// WSABIE's stochastic gradient descent on the WARP loss (Weston, Bengio and Usunier, IJCAI 2011).
//
// Scores f_c = V_c · (W x) of the classes; a step on the sample (x, y) draws other classes until one has
// f_c > f_y − margin, at most as many times as there are, m. Found at draw t, it weighs L(⌊m/t⌋) with
// L(r) = 1 + 1/2 + … + 1/r, and the step goes against the gradient of L · (margin − f_y + f_c):
//     z = W x,   g = V_y − V_c,   η' = η L,
//     W ← W + η' g xᵀ,   V_y ← V_y + η' z,   V_c ← V_c − η' z
// Of a sample with several labels y is one of them, and none of the others is drawn.
// Columns of W and rows of V that leave the ball of radius max_norm are pulled back onto it.
#pragma once

#include <cstdint>

#include "fastcca/base/types.hpp"

namespace fastcca {

template <typename T>
struct WarpEpoch {
    MatrixView<T> X;           // n × p
    const Index* y = nullptr;  // n classes
    // The labels of sample i, y[i] among them, ascending: positives[starts[i]] … positives[starts[i + 1] −
    // 1]. Null: y[i] alone.
    const Index* positive_starts = nullptr;
    const Index* positives = nullptr;
    const Index* order = nullptr;  // the row of each step
    Index n_steps = 0;
    Index n_classes = 0;
    Index width = 0;  // d
    double learning_rate = 0;
    double margin = 1;
    double max_norm = 0;     // 0: none
    std::uint64_t seed = 0;  // of the draws, which depend on it and on the number of the step
};

struct WarpResult {
    double loss = 0;  // Σ L · (margin − f_y + f_c)
    Index updates = 0, draws = 0;
};

// One step after the other, on this thread. W (d × p) and V (classes × d) are row major and changed in place,
// when all went well. Throws NonFiniteError (view 0: X), NumericalError where the steps diverge.
template <typename T>
WarpResult warp_epoch(const WarpEpoch<T>& epoch, T* W, T* V);

}  // namespace fastcca
