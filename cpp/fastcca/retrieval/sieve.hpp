// The scores of a panel that exceed their thresholds, found by sieving in bfloat16 (bfloat16_tile.hpp) and
// scoring what is left in float, with the operations of ScoreTile one by one: the same bits. The lists end up
// the same as without it: a query's rows are offered in ascending order, every row above the threshold is
// among them, and of the others, which are turned away, it does not matter which are offered; that thresholds
// rise while a panel is compared only makes more of those.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "fastcca/base/types.hpp"
#include "fastcca/retrieval/bfloat16_tile.hpp"
#include "fastcca/retrieval/candidates.hpp"
#include "fastcca/retrieval/tile.hpp"

namespace fastcca {

// Panels of `columns` columns against n queries of a task.
class Sieve {
 public:
    using Tile = ScoreTile<float>;
    static constexpr int kTile = Tile::kTile;
    static constexpr int kPanel = Tile::kPanel;

    // `rest`: so many panels are not worth sieving, since there are no thresholds yet.
    Sieve(Index columns, Index n, Index rest)
        : columns_(columns),
          n_(n),
          panel_(columns),
          sieved_(static_cast<std::size_t>(n)),
          scores_(kTile * kPanel),
          rest_(rest) {}

    // Where much of a panel is left, as when rows lie so close that the bound tells nothing, sieving is tried
    // again after more and more panels only.
    bool rests() {
        if (rest_ == 0) return false;
        --rest_;
        return true;
    }

    // A panel from gallery row `row` on, none of its rows longer than `longest`; `packed` are all queries in
    // float and `rounded` in bfloat16, of which [start, start + n) are those of the lists.
    void compare(Index row, const float* panel, const float* bias, double longest, double largest_bias,
                 const float* packed, const Bfloat16Queries& rounded, Index start,
                 CandidateLists<float>& lists) {
        panel_.set(panel, longest);
        const Index count =
            panel_.sieve(bias, largest_bias, rounded, start, n_, lists.thresholds(), sieved_.data());
        packed += start * columns_;
        Index work = 0;
        for (Index i = 0; i < count;) {
            const Index tile = at(i).query / kTile * kTile;
            Index end = i;
            Index left = 0;
            for (; end < count && at(end).query < tile + kTile; ++end)
                left += __builtin_popcountll(at(end).rows);
            const float* const queries = packed + tile * columns_;
            work += std::min(left, kCrowded);
            if (left > kCrowded) {
                const Tile::Sums sums(panel, queries, columns_, bias, 0);
                sums.store(scores_.data());
                lists.offer_tile<kPanel>(scores_.data(), row, tile, std::min<Index>(kTile, n_ - tile));
                i = end;
            }
            for (; i < end; ++i)
                for (std::uint64_t rows = at(i).rows; rows; rows &= rows - 1) {
                    const int r = __builtin_ctzll(rows);
                    pairs_[n_pairs_++] = {panel + r, queries + at(i).query % kTile, bias[r], at(i).query,
                                          row + r};
                    if (n_pairs_ == kPairs) score_pairs(lists);
                }
        }
        score_pairs(lists);
        pause_ = 2 * work * kTile > kCrowded * n_ ? std::min(2 * pause_ + 1, kLongestPause) : 0;
        rest_ = pause_;
    }

 private:
    // So many pairs of a tile take longer one by one than all of it at once.
    static constexpr Index kCrowded = 8;
    // As many sums as the adders want, and not more than there are registers for pointers to their factors.
    static constexpr int kPairs = 6;
    static constexpr Index kLongestPause = 31;

    struct Pair {
        const float *x, *q;  // with steps of kPanel and kTile
        float score;
        Index query, row;
    };

    const Sieved& at(Index i) const { return sieved_[static_cast<std::size_t>(i)]; }

    // Several at once, since each addition of one waits for the last.
    EIGEN_DONT_INLINE void score_pairs(CandidateLists<float>& lists) {
        if (n_pairs_ == 0) return;
        const float *x[kPairs], *q[kPairs];
        float score[kPairs];
        for (int i = 0; i < kPairs; ++i) {
            const Pair& pair = pairs_[i < n_pairs_ ? i : 0];
            x[i] = pair.x;
            q[i] = pair.q;
            score[i] = pair.score;
        }
        for (Index c = 0; c < columns_; ++c)
            for (int i = 0; i < kPairs; ++i) score[i] = std::fma(x[i][c * kPanel], q[i][c * kTile], score[i]);
        for (int i = 0; i < n_pairs_; ++i) lists.offer(pairs_[i].query, score[i], pairs_[i].row);
        n_pairs_ = 0;
    }

    Index columns_, n_;
    Bfloat16Panel panel_;
    std::vector<Sieved> sieved_;
    Eigen::Matrix<float, Eigen::Dynamic, 1> scores_;
    Pair pairs_[kPairs];
    int n_pairs_ = 0;
    Index rest_, pause_ = 0;
};

}  // namespace fastcca
