// Products of large matrices: both factors are packed once, by all threads, and shared by all threads.
#pragma once

#include "fastcca/base/scratch.hpp"
#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/micro_tile.hpp"

namespace fastcca {

enum class Part { kAll, kLower };

// C ← α op(A) op(B) + β C, or its lower triangle (then nothing is promised of what lies above the diagonal).
// With β = 0, C is only written.
template <typename T>
void packed_product(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C,
                    Part part);

// op(A), which many threads multiply by columns of their own, n columns of k entries packed by the caller.
template <typename T>
class PackedMatrix {
 public:
    explicit PackedMatrix(ConstRef<T> A, Op op = Op::kNone);

    static Index packed_columns(Index n) {
        constexpr Index kColumns = MicroTile<T>::kColumns;
        return (n + kColumns - 1) / kColumns * kColumns;
    }
    static Index packed_size(Index k, Index n) {
        constexpr Index kDepth = MicroTile<T>::kDepth;
        return (k + kDepth - 1) / kDepth * kDepth * packed_columns(n);
    }
    // The place of entry k of column j. It is the next one's neighbour unless that starts a block:
    // (k + 1) % MicroTile<T>::kDepth == 0.
    static Index position(Index k, Index j, Index packed_columns) {
        constexpr Index kDepth = MicroTile<T>::kDepth;
        return (k / kDepth * packed_columns + j) * kDepth + k % kDepth;
    }

    // The columns of B so packed.
    static void pack(ConstRef<T> B, T* packed);

    // C ← op(A) times the packed columns, on this thread.
    void times(const T* right, MutableRef<T> C) const;

 private:
    Index rows_, depth_;
    Scratch<T> packed_;
};

}  // namespace fastcca
