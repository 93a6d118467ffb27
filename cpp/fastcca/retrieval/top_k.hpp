// Exact search: for each query the k best rows of a gallery, by comparing it with every one of them.
#pragma once

#include "fastcca/base/types.hpp"

namespace fastcca {

enum class Similarity {
    kInnerProduct,  // x · q
    kCosine,        // x · q / (|x| |q|), 0 where a vector has no direction
    kEuclidean,     // |x − q|², of which the smallest are the best
};

// Writes, for each query, the places of its k best rows and their scores, the best first and of equal scores
// the lower place first; both are row major, queries.rows × k.
//
// Candidates, some more than k, are chosen by products in T; their scores are then taken once more in
// double, for the distance from the differences, and decide the order. What is missed for rounding in T is
// therefore at most what lies, by such a product, behind all of these candidates. Equal rows have equal
// scores wherever they lie in the gallery.
//
// 1 ≤ k ≤ gallery.rows, and both have the same columns. Throws NonFiniteError (of view 0, the gallery, or
// view 1, the queries), std::invalid_argument where squared lengths overflow T.
template <typename T>
void top_k(const MatrixView<T>& gallery, const MatrixView<T>& queries, Similarity similarity, Index k,
           Index* indices, T* scores);

}  // namespace fastcca
