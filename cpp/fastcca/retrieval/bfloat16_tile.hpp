// Scores of a panel of gallery rows against tiles of queries, both rounded to bfloat16, by the matrix unit of
// CPUs that have AMX: a sieve which of the scores in float may exceed their thresholds, an order of magnitude
// faster than these are computed. It turns none of those away.
//
// Why: let x be a row, q a query and b a bias in float, x' and q' what they are rounded to, n ≥ |x| and
// r ≥ |x − x'|, l ≥ |q| and s ≥ |q − q'|. By the triangle inequality and that of Cauchy and Schwarz
//     |x · q − x' · q'| = |(x − x') · q + x' · (q − q')| ≤ r l + (n + r) s.
// Either computation adds up b and the products in float, in some order, so that no term goes through more
// than m = columns + 32 roundings (those of padding included), each off by 2^-24 of what it rounds or, where
// that leaves the normal numbers, by the smallest of them, to which the unit also rounds what it reads. Hence
//     |score in float − score here| ≤ r l + (n + r) s + 1.125 · 2^-23 m (|b| + (n + r) (l + s)) + 16 m tiny
// while 2^-24 m is small, and a score in float above the threshold is here above the threshold less this.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fastcca/base/types.hpp"
#include "fastcca/retrieval/tile.hpp"

namespace fastcca {

// Whether this CPU has such a unit and the system lets this process use it. FASTCCA_AMX=0 says no; so does
// the test that has called allow_bfloat16_tiles(false).
bool use_bfloat16_tiles();
void allow_bfloat16_tiles(bool allowed);

// The number of these.
struct Bfloat16Tile {
    static constexpr Index kQueries = 16;  // of a tile
    static constexpr Index kDepth = 32;    // columns of a tile
    static constexpr Index kMostColumns = 1 << 16;

    static Index depths(Index columns) { return (columns + kDepth - 1) / kDepth; }
};

// Bytes for tiles, aligned as they are loaded; cleared.
class TileBuffer {
 public:
    explicit TileBuffer(Index numbers);
    std::uint16_t* data() const { return data_; }

 private:
    std::unique_ptr<std::uint16_t[]> memory_;
    std::uint16_t* data_;
};

// Queries in bfloat16:
//     query j of a tile, column c -> tile[(c / kDepth) * kQueries * kDepth + j * kDepth + c % kDepth]
// one tile after the other, and for each query the l and s of above.
class Bfloat16Queries {
 public:
    Bfloat16Queries(Index n, Index columns);

    // `at`: the query's entries, `step` apart. Threads may set different queries at the same time.
    void set(Index query, const float* at, Index step);

    const std::uint16_t* tile(Index query) const {
        return tiles_.data() + query * depths_ * Bfloat16Tile::kDepth;
    }
    const float* lengths() const { return lengths_.data(); }
    const float* errors() const { return errors_.data(); }

 private:
    Index columns_, depths_;
    TileBuffer tiles_;
    std::vector<float> lengths_, errors_;
};

// A query that some rows of a panel may exceed the threshold of: a bit for each of these.
struct Sieved {
    Index query;
    std::uint64_t rows;
};

// A panel in bfloat16, of which the even and odd columns lie beside each other:
//     row r, column c -> panel[(c / kDepth * kRows / 16 + r / 16) * 512 + c % kDepth / 2 * 32 + r % 16 * 2 +
//     c % 2]
class Bfloat16Panel {
 public:
    static constexpr int kRows = ScoreTile<float>::kPanel;

    explicit Bfloat16Panel(Index columns);

    // A panel as ScoreTile wants it, of which no row is longer than `longest`.
    void set(const float* panel, double longest);

    // Of queries [start, start + n), the first of a tile and those after it, those that have rows which may
    // exceed their thresholds, in ascending order. `bias` and `thresholds`, which come for whole tiles, are
    // the scores' (tile.hpp); no bias but those of padding, the lowest number, is larger than `largest_bias`.
    // Returns the number of them; `sieved` holds up to n.
    Index sieve(const float* bias, double largest_bias, const Bfloat16Queries& queries, Index start, Index n,
                const float* thresholds, Sieved* sieved) const;

 private:
    Index columns_, depths_;
    TileBuffer tiles_;
    double longest_ = 0, error_ = 0;  // the n and r of above
};

}  // namespace fastcca
