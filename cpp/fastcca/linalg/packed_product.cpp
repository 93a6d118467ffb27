#include "fastcca/linalg/packed_product.hpp"

#include <algorithm>

#include "fastcca/base/scratch.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/micro_tile.hpp"
#include "fastcca/linalg/transpose.hpp"

namespace fastcca {
namespace {

// A block of the result, and of the sum, small enough for its packed factors to stay in the last-level cache.
template <typename T>
constexpr Index kSide = sizeof(T) == 4 ? 2304 : 1536;
template <typename T>
constexpr Index kSum = 4 * MicroTile<T>::kDepth;

// Tiles of a task: few enough for the threads to end together, enough to pay for handing the task out.
constexpr Index kTasks = 128;
constexpr Index kLeastTiles = 4;

// Copying this many entries takes no longer than distributing them.
constexpr Index kInlineEntries = 1 << 15;

Index parts(Index n, Index size) { return (n + size - 1) / size; }

// op(A), columns [start, start + depth), by panels of rows.
template <typename T>
void pack_left(const ConstRef<T>& A, Op op, Index row, Index rows, Index start, Index depth, T* packed) {
    constexpr Index kRows = MicroTile<T>::kRows;
    if (rows < kRows) std::fill(packed, packed + kRows * depth, T(0));
    if (op == Op::kTranspose) {
        transpose(&A.coeffRef(start, row), A.outerStride(), depth, rows, packed, kRows);
        return;
    }
    const T* from = &A.coeffRef(row, start);
    for (Index k = 0; k < depth; ++k, from += A.outerStride(), packed += kRows)
        if (rows == kRows) {
            std::copy(from, from + kRows, packed);
        } else {
            std::copy(from, from + rows, packed);
        }
}

// op(B), rows [start, start + depth), some columns.
template <typename T>
void pack_right(const ConstRef<T>& B, Op op, Index column, Index columns, Index start, Index depth,
                T* packed) {
    constexpr Index kDepth = MicroTile<T>::kDepth;
    if (op == Op::kTranspose) {
        transpose(&B.coeffRef(column, start), B.outerStride(), columns, depth, packed, kDepth);
    } else {
        for (Index j = 0; j < columns; ++j) {
            const T* from = &B.coeffRef(start, column + j);
            std::copy(from, from + depth, packed + j * kDepth);
        }
    }
    const Index missing = parts(columns, MicroTile<T>::kColumns) * MicroTile<T>::kColumns - columns;
    std::fill(packed + columns * kDepth, packed + (columns + missing) * kDepth, T(0));
}

struct Range {
    Index start, length;
    // The next of at most that many out of n.
    static Range at(Index start, Index most, Index n) { return {start, std::min(most, n - start)}; }
};

// A block of either factor, for one block of the result and of the sum, in blocks of kDepth.
template <typename T>
class Blocks {
    using Tile = MicroTile<T>;
    static constexpr Index kDepth = Tile::kDepth, kRows = Tile::kRows, kColumns = Tile::kColumns;
    static constexpr Index kStripe = 32;  // columns packed together: whole packets of them

 public:
    const Index most_rows, most_columns, most_depth;

    Blocks(Index m, Index n, Index depth)
        : most_rows(std::min(parts(m, kRows) * kRows, kSide<T> / kRows * kRows)),
          most_columns(std::min(parts(n, kColumns) * kColumns, kSide<T>)),
          most_depth(std::min(depth, kSum<T>)),
          left_(most_rows * most_depth, 1),
          right_(most_columns * parts(most_depth, kDepth) * kDepth, 1) {}

    void pack(const ConstRef<T>& A, Op op_a, Range rows, const ConstRef<T>& B, Op op_b, Range columns,
              bool right_too, Range sum) {
        const Index panels = parts(rows.length, kRows), stripes = parts(columns.length, kStripe);
        parallel_for(panels + (right_too ? stripes : 0), [&](Index i) {
            for (Index k = 0; k < sum.length; k += kDepth) {
                const Index depth = std::min(kDepth, sum.length - k);
                if (i < panels) {
                    const Range panel = Range::at(i * kRows, kRows, rows.length);
                    pack_left<T>(A, op_a, rows.start + panel.start, panel.length, sum.start + k, depth,
                                 left(panels, i, k, depth));
                } else {
                    const Range stripe = Range::at((i - panels) * kStripe, kStripe, columns.length);
                    pack_right<T>(B, op_b, columns.start + stripe.start, stripe.length, sum.start + k, depth,
                                  right(stripe.start, k));
                }
            }
        });
    }

    // C ← α left right + β C in this block of C.
    void multiply(T alpha, T beta, MutableRef<T> C, Range rows, Range columns, Index length, Part part) {
        const Index panels = parts(rows.length, kRows), tiles = parts(columns.length, kColumns);
        const Index group = std::max(kLeastTiles, panels * tiles / kTasks);
        parallel_for(panels * parts(tiles, group), [&](Index task) {
            const Index p = task % panels, first = task / panels * group;
            const Range panel = Range::at(p * kRows, kRows, rows.length);
            const Index i = rows.start + panel.start;
            for (Index k = 0; k < length; k += kDepth) {
                const Index depth = std::min(kDepth, length - k);
                for (Index t = first; t < std::min(tiles, first + group); ++t) {
                    const Range tile = Range::at(t * kColumns, kColumns, columns.length);
                    const Index j = columns.start + tile.start;
                    if (part == Part::kLower && i + panel.length <= j) break;
                    Tile::run(alpha, left(panels, p, k, depth), right(tile.start, k), depth,
                              k == 0 ? beta : T(1), &C.coeffRef(i, j), C.outerStride(), panel.length,
                              tile.length);
                }
            }
        });
    }

 private:
    T* left(Index panels, Index panel, Index k, Index depth) {
        return left_.data() + (k * panels + panel * depth) * kRows;
    }
    T* right(Index column, Index k) { return right_.data() + k * most_columns + column * kDepth; }

    Scratch<T> left_, right_;
};

}  // namespace

template <typename T>
void packed_product(T alpha, ConstRef<T> A, Op op_a, ConstRef<T> B, Op op_b, T beta, MutableRef<T> C,
                    Part part) {
    const Index m = C.rows(), n = C.cols(), depth = op_a == Op::kNone ? A.cols() : A.rows();
    Blocks<T> blocks(m, n, depth);
    for (Index j = 0; j < n; j += blocks.most_columns) {
        const Range columns = Range::at(j, blocks.most_columns, n);
        for (Index k = 0; k < depth; k += blocks.most_depth) {
            const Range sum = Range::at(k, blocks.most_depth, depth);
            bool right_too = true;
            for (Index i = 0; i < m; i += blocks.most_rows) {
                const Range rows = Range::at(i, blocks.most_rows, m);
                if (part == Part::kLower && i + rows.length <= j) continue;
                blocks.pack(A, op_a, rows, B, op_b, columns, right_too, sum);
                right_too = false;
                blocks.multiply(alpha, k == 0 ? beta : T(1), C, rows, columns, sum.length, part);
            }
        }
    }
}

template <typename T>
PackedMatrix<T>::PackedMatrix(ConstRef<T> A, Op op)
    : rows_(op == Op::kNone ? A.rows() : A.cols()),
      depth_(op == Op::kNone ? A.cols() : A.rows()),
      packed_(parts(rows_, MicroTile<T>::kRows) * MicroTile<T>::kRows * depth_, 1) {
    constexpr Index kRows = MicroTile<T>::kRows, kDepth = MicroTile<T>::kDepth;
    const Index panels = parts(rows_, kRows);
    const auto pack = [&](Index p) {
        for (Index k = 0; k < depth_; k += kDepth) {
            const Index length = std::min(kDepth, depth_ - k);
            pack_left<T>(A, op, p * kRows, std::min(kRows, rows_ - p * kRows), k, length,
                         packed_.data() + (k * panels + p * length) * kRows);
        }
    };
    if (A.size() <= kInlineEntries) {
        for (Index p = 0; p < panels; ++p) pack(p);
    } else {
        parallel_for(panels, pack);
    }
}

template <typename T>
void PackedMatrix<T>::pack(ConstRef<T> B, T* packed) {
    constexpr Index kDepth = MicroTile<T>::kDepth;
    const Index stride = packed_columns(B.cols()) * kDepth;
    for (Index k = 0; k < B.rows(); k += kDepth, packed += stride)
        pack_right<T>(B, Op::kNone, 0, B.cols(), k, std::min(kDepth, B.rows() - k), packed);
}

template <typename T>
void PackedMatrix<T>::times(const T* right, MutableRef<T> C) const {
    constexpr Index kRows = MicroTile<T>::kRows, kDepth = MicroTile<T>::kDepth;
    constexpr Index kColumns = MicroTile<T>::kColumns;
    const Index panels = parts(rows_, kRows), columns = packed_columns(C.cols());
    for (Index k = 0; k < depth_; k += kDepth, right += columns * kDepth) {
        const Index length = std::min(kDepth, depth_ - k);
        for (Index p = 0; p < panels; ++p)
            for (Index j = 0; j < C.cols(); j += kColumns)
                MicroTile<T>::run(T(1), packed_.data() + (k * panels + p * length) * kRows,
                                  right + j * kDepth, length, k == 0 ? T(0) : T(1), &C.coeffRef(p * kRows, j),
                                  C.outerStride(), std::min(kRows, rows_ - p * kRows),
                                  std::min<Index>(kColumns, C.cols() - j));
    }
}

template class PackedMatrix<float>;
template class PackedMatrix<double>;
template void packed_product<float>(float, ConstRef<float>, Op, ConstRef<float>, Op, float, MutableRef<float>,
                                    Part);
template void packed_product<double>(double, ConstRef<double>, Op, ConstRef<double>, Op, double,
                                     MutableRef<double>, Part);

}  // namespace fastcca
