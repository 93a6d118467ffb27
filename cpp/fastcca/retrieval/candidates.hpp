// The best of what one query has been compared with so far.
#pragma once

#include <Eigen/Core>

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "fastcca/base/types.hpp"

namespace fastcca {

template <typename S>
struct Candidate {
    S score;
    Index index;
    // The order of the answer: larger scores first, of equal scores the lower index.
    bool operator<(const Candidate& other) const {
        return score > other.score || (score == other.score && index < other.index);
    }
};

// Brings the K best to the front, the worst of them to place K − 1, and returns how many are left.
template <typename S>
Index keep_best(Candidate<S>* list, Index count, Index K) {
    if (count < K) return count;
    std::nth_element(list, list + K - 1, list + count);
    return K;
}

// For each of several queries the K best of the candidates offered. A query keeps up to 2K candidates; once
// it has that many, the worse half is dropped, and what is left sets the threshold that the next must exceed.
// Hence an offer costs a constant amount on average, for small and large K. Candidates must be
// offered in ascending order of their index: then whoever only equals the threshold may be turned away.
template <typename T>
class CandidateLists {
 public:
    // `most`: how many candidates will be offered to a query at most. `thresholds`: the scores to exceed from
    // the beginning. Beyond n_queries there is padding up to a multiple of `multiple`, which never asks for a
    // candidate.
    CandidateLists(Index n_queries, Index K, Index most, const T* thresholds, Index multiple)
        : kept_(K),
          room_(std::min(2 * K, most)),
          counts_(static_cast<std::size_t>(n_queries), 0),
          entries_(new Candidate<T>[static_cast<std::size_t>(n_queries * room_)]),
          thresholds_(static_cast<std::size_t>((n_queries + multiple - 1) / multiple * multiple),
                      std::numeric_limits<T>::max()) {
        std::copy_n(thresholds, n_queries, thresholds_.begin());
    }

    const T* thresholds() const { return thresholds_.data(); }

    void offer(Index query, T score, Index index) {
        T& threshold = thresholds_[static_cast<std::size_t>(query)];
        if (!(score > threshold)) return;
        Candidate<T>* const list = entries_.get() + query * room_;
        Index& count = counts_[static_cast<std::size_t>(query)];
        list[count++] = {score, index};
        if (count == 2 * kept_) {
            count = keep_best(list, count, kept_);
            threshold = list[kept_ - 1].score;
        }
    }

    // The scores of a tile (tile.hpp) that exceed their thresholds, of rows from `row` and n queries from
    // `query` on.
    template <int kPanel>
    void offer_tile(const T* scores, Index row, Index query, Index n) {
        for (Index j = 0; j < n; ++j, scores += kPanel) {
            const T threshold = thresholds()[query + j];
            if (!(Eigen::Map<const Eigen::Array<T, kPanel, 1>>(scores).maxCoeff() > threshold)) continue;
            for (int r = 0; r < kPanel; ++r)
                if (scores[r] > threshold) offer(query + j, scores[r], row + r);
        }
    }

    // Writes the K best candidates of a query, or all if there are fewer, and returns how many.
    Index take(Index query, Candidate<T>* out) const {
        Candidate<T>* const list = entries_.get() + query * room_;
        const Index count = keep_best(list, counts_[static_cast<std::size_t>(query)], kept_);
        std::copy_n(list, count, out);
        return count;
    }

 private:
    Index kept_, room_;
    std::vector<Index> counts_;
    std::unique_ptr<Candidate<T>[]> entries_;  // not cleared
    std::vector<T> thresholds_;
};

}  // namespace fastcca
