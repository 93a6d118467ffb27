#include "fastcca/retrieval/top_k.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/transpose.hpp"
#include "fastcca/moments/moments.hpp"
#include "fastcca/retrieval/bfloat16_tile.hpp"
#include "fastcca/retrieval/candidates.hpp"
#include "fastcca/retrieval/sieve.hpp"
#include "fastcca/retrieval/tile.hpp"

namespace fastcca {
namespace {

// Vectors aligned for packets.
template <typename T>
using Buffer = Eigen::Matrix<T, Eigen::Dynamic, 1>;

// The most multiplications of one task: a twentieth of a second where these are slowest.
constexpr double kTaskFlops = 1e9;
// The packed queries of one task stay in the second level of cache.
constexpr Index kQueryBytes = 512 * 1024;
// Tasks begin at queries that are multiples of this, which all tiles divide.
constexpr Index kStep = Bfloat16Tile::kQueries;
// From so many columns and queries on the matrix unit, where there is one, is faster.
constexpr Index kSievedColumns = 16, kSievedQueries = 64;
// The most chunks of the gallery that are searched before their candidates are merged.
constexpr Index kRound = 64;
// The candidates of a group of queries take about so much memory at most, and so do the packed queries.
constexpr Index kGroupBytes = 64 * 1024 * 1024;
// The most rows of the gallery, evenly spaced, that are averaged for its centre.
constexpr Index kCentreRows = 1024;

Index blocks(Index n, Index size) { return (n + size - 1) / size; }

// Σ f(c) over the columns in eight partial sums: the order of the sum does not depend on where the row lies.
template <typename F>
double sum_over(Index columns, F&& f) {
    double part[8] = {};
    Index c = 0;
    for (; c + 8 <= columns; c += 8)
        for (int i = 0; i < 8; ++i) part[i] += f(c + i);
    for (int i = 0; c < columns; ++c, ++i) part[i] += f(c);
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

template <typename T>
double square(T x) {
    return static_cast<double>(x) * static_cast<double>(x);
}

// Sums of squares below this have lost digits, if not everything, to numbers below the smallest normal one.
constexpr double kTiny = std::numeric_limits<double>::min() / std::numeric_limits<double>::epsilon();

// The factors that bring a row to length 1: x 2^exponent · scale, the first of them exact, so that neither a
// square nor a factor leaves the range of double. Of a row of zeros: scale 0.
struct UnitLength {
    int exponent = 0;
    double scale = 0;

    double operator()(double x) const { return std::ldexp(x, exponent) * scale; }
};

// at(c): the entries; norm2: the sum of their squares.
template <typename At>
UnitLength unit_length(Index columns, double norm2, const At& at) {
    if (norm2 >= kTiny) return {0, 1 / std::sqrt(norm2)};
    double largest = 0;
    for (Index c = 0; c < columns; ++c) largest = std::max(largest, std::abs(at(c)));
    if (!(largest > 0)) return {};
    UnitLength unit{-std::ilogb(largest), 1};
    unit.scale = 1 / std::sqrt(sum_over(columns, [&](Index c) { return square(unit(at(c))); }));
    return unit;
}

// Whether T holds the factor that brings a vector of this squared length to length 1.
template <typename T>
bool has_reciprocal(double norm2) {
    return norm2 >= std::max(kTiny, square(4 / std::numeric_limits<T>::max()));
}

template <typename T>
class Search {
 public:
    using Tile = ScoreTile<T>;
    static constexpr int kTile = Tile::kTile;
    static constexpr int kPanel = Tile::kPanel;
    using Panel = Eigen::Array<T, kPanel, 1>;

    Search(const MatrixView<T>& gallery, const MatrixView<T>& queries, Similarity similarity, Index k)
        : gallery_(gallery), queries_(queries), similarity_(similarity), k_(k), d_(gallery.cols) {
        // Some candidates more than k, so that rounding seldom decides who is among the k.
        kept_ = std::min(gallery.rows, k + 8 + k / 8);
        if (similarity == Similarity::kEuclidean) find_centre();
        sieves_ = std::is_same_v<T, float> && d_ >= kSievedColumns && d_ <= Bfloat16Tile::kMostColumns &&
                  queries.rows >= kSievedQueries && use_bfloat16_tiles();
        const Index packed = d_ * static_cast<Index>(sizeof(T));  // bytes of a query
        // Where products cost little a panel is packed for more queries, and a task has more of them.
        const Index more = sieves_ ? 4 : 1;
        query_block_ =
            std::clamp<Index>(more * kQueryBytes / packed, 128, sieves_ ? 2048 : 1024) / kStep * kStep;
        const Index side = std::min(query_block_, std::max<Index>(queries.rows, 1));
        const double flops = 2.0 * static_cast<double>(d_ * side);
        const auto most = static_cast<Index>(kTaskFlops * static_cast<double>(more) / flops);
        chunk_ = std::min(std::max<Index>(gallery.rows / 32, 64 * kPanel), std::max<Index>(most, 1));
        chunk_ = blocks(chunk_, kPanel) * kPanel;
        n_chunks_ = blocks(gallery.rows, chunk_);
        n_slots_ = std::min(n_chunks_, kRound);
        slot_ = std::min(kept_, chunk_);
        const auto candidates = static_cast<Index>(sizeof(Candidate<T>)) * (kept_ + n_slots_ * slot_);
        group_ = std::max<Index>(kGroupBytes / std::max(candidates, packed) / kStep, 1) * kStep;
        query_block_ = std::min(query_block_, group_);
    }

    void run(Index* indices, T* scores) const {
        for (Index start = 0; start < queries_.rows; start += group_) {
            const Index n = std::min(group_, queries_.rows - start);
            run_group(queries_.middle_rows(start, n), start, indices + start * k_, scores + start * k_);
        }
    }

 private:
    // What a group of queries has found: for each the best of the chunks done, and in slots what the chunks
    // of the round have found.
    struct Found {
        Found(Index n_queries, Index kept, Index n_slots, Index slot)
            : counts(static_cast<std::size_t>(n_queries), 0),
              best(new Candidate<T>[static_cast<std::size_t>(n_queries * kept)]),
              slot_counts(static_cast<std::size_t>(n_queries * n_slots)),
              slots(new Candidate<T>[static_cast<std::size_t>(n_queries * n_slots * slot)]),
              thresholds(static_cast<std::size_t>(n_queries), std::numeric_limits<T>::lowest()) {}
        std::vector<Index> counts;
        std::unique_ptr<Candidate<T>[]> best;
        std::vector<Index> slot_counts;
        std::unique_ptr<Candidate<T>[]> slots;
        std::vector<T> thresholds;  // of what `best` holds
    };

    struct Packed {
        Buffer<T> queries;
        std::optional<Bfloat16Queries> rounded;  // where they sieve
    };

    void run_group(const MatrixView<T>& queries, Index first, Index* indices, T* scores) const {
        const Packed packed = pack_queries(queries, first);
        Found found(queries.rows, kept_, n_slots_, slot_);
        const double per_query = 2.0 * static_cast<double>(d_ * std::min(chunk_, gallery_.rows));
        const Index few = std::clamp<Index>(static_cast<Index>(4e7 / per_query), 64, 1024) / kStep * kStep;
        // Rounds of 1, 3, 12, 48 chunks, and so on: what one has found sets thresholds that few candidates of
        // the next exceed.
        for (Index chunk = 0; chunk < n_chunks_;) {
            const Index n = std::min({std::max(Index{1}, 3 * chunk), kRound, n_chunks_ - chunk});
            // Short rounds have smaller tasks, so that there are enough of them.
            Index side = n < 16 ? std::min(few, query_block_) : query_block_;
            if (sieves_)
                side = std::min(query_block_,
                                std::max(kSievedQueries, blocks(queries.rows * n, 8 * kStep) * kStep));
            const Index across = blocks(queries.rows, side);
            parallel_for(across * n, [&](Index task) {
                const Index start = task % across * side, slot = task / across;
                search_chunk(packed, chunk + slot, slot, start, std::min(side, queries.rows - start), found);
            });
            chunk += n;
            const bool last = chunk == n_chunks_;
            constexpr Index kMerged = 64;
            parallel_for(blocks(queries.rows, kMerged), [&](Index task) {
                const Index end = std::min(queries.rows, (task + 1) * kMerged);
                std::vector<Candidate<T>> candidates;
                std::vector<Candidate<double>> best;
                for (Index q = task * kMerged; q < end; ++q) {
                    merge(q, n, found, candidates);
                    if (last) answer(queries, q, found, best, indices + q * k_, scores + q * k_);
                }
            });
        }
    }

    // Tile after tile of the queries, centred or of unit length as the similarity wants them.
    Packed pack_queries(const MatrixView<T>& queries, Index first) const {
        Packed packed;
        packed.queries = Buffer<T>::Zero(blocks(queries.rows, kTile) * kTile * d_);
        if (sieves_) packed.rounded.emplace(queries.rows, d_);
        constexpr Index kRows = 64 * kTile;
        parallel_for(blocks(queries.rows, kRows), [&](Index task) {
            const Index end = std::min(queries.rows, (task + 1) * kRows);
            for (Index q = task * kRows; q < end; ++q) {
                T* const out = packed.queries.data() + q / kTile * kTile * d_ + q % kTile;
                for (Index c = 0; c < d_; ++c) out[c * kTile] = queries(q, c) - centre(c);
                const double norm2 = sum_over(d_, [&](Index c) { return square(out[c * kTile]); });
                check(norm2, 1, queries_, first + q);
                if (similarity_ == Similarity::kCosine) to_unit_length(norm2, out, kTile);
                if constexpr (std::is_same_v<T, float>)
                    if (sieves_) packed.rounded->set(q, out, kTile);
            }
        });
        return packed;
    }

    // A vector of d entries, `step` apart.
    void to_unit_length(double norm2, T* x, Index step) const {
        if (has_reciprocal<T>(norm2)) {
            const T scale = static_cast<T>(1 / std::sqrt(norm2));
            for (Index c = 0; c < d_; ++c) x[c * step] *= scale;
            return;
        }
        const auto at = [&](Index c) { return static_cast<double>(x[c * step]); };
        const UnitLength unit = unit_length(d_, norm2, at);
        for (Index c = 0; c < d_; ++c) x[c * step] = static_cast<T>(unit(at(c)));
    }

    // All rows of a chunk against queries [start, start + n).
    void search_chunk(const Packed& packed, Index chunk, Index slot, Index start, Index n,
                      Found& found) const {
        CandidateLists<T> lists(n, kept_, chunk_, found.thresholds.data() + start, kStep);
        Buffer<T> panel = Buffer<T>::Zero(kPanel * d_), bias(kPanel), scores(kTile * kPanel), partial;
        std::optional<Sieve> sieve;
        // The first thresholds come with twice as many rows as are kept.
        if (sieves_) sieve.emplace(d_, n, chunk == 0 ? blocks(2 * kept_, kPanel) : 0);
        const Index slices = blocks(d_, Tile::kSlice), width = blocks(d_, slices);
        if (slices > 1) partial.resize(blocks(n, kTile) * kTile * kPanel);
        const Index end = std::min(gallery_.rows, (chunk + 1) * chunk_);
        for (Index row = chunk * chunk_; row < end; row += kPanel, poll()) {
            const double longest = pack_panel(row, std::min<Index>(kPanel, end - row), panel, bias);
            if constexpr (std::is_same_v<T, float>)
                if (sieve && !sieve->rests()) {
                    sieve->compare(row, panel.data(), bias.data(), longest, largest_bias(longest),
                                   packed.queries.data(), *packed.rounded, start, lists);
                    continue;
                }
            for (Index c = 0; c < d_; c += width)
                for (Index q = 0; q < n; q += kTile) {
                    T* const sums = slices > 1 ? partial.data() + q * kPanel : nullptr;
                    const typename Tile::Sums tile(
                        panel.data() + c * kPanel, packed.queries.data() + (start + q) * d_ + c * kTile,
                        std::min(width, d_ - c), c == 0 ? bias.data() : sums, c == 0 ? 0 : kPanel);
                    if (c + width < d_) {
                        tile.store(sums);
                    } else if (tile.exceed(lists.thresholds() + q)) {
                        tile.store(scores.data());
                        lists.template offer_tile<kPanel>(scores.data(), row, q,
                                                          std::min<Index>(kTile, n - q));
                    }
                }
        }
        for (Index q = 0; q < n; ++q) {
            const Index place = (start + q) * n_slots_ + slot;
            found.slot_counts[static_cast<std::size_t>(place)] =
                lists.take(q, found.slots.get() + place * slot_);
        }
    }

    // With p a packed query,
    //     |x − q|² = |q|² − 2 (x · p − |x|²/2)  with x and p centred,       x · p / |x| with p of length 1,
    // so that the largest score, bias + x · p, is the best for every similarity.
    // Returns a bound of the rows' lengths.
    double pack_panel(Index row, Index height, Buffer<T>& panel, Buffer<T>& bias) const {
        const T* const in = gallery_.data + row * gallery_.row_stride;
        if (gallery_.col_stride == 1) {
            transpose(in, gallery_.row_stride, d_, height, panel.data(), Index{kPanel});
        } else {
            for (Index c = 0; c < d_; ++c)
                for (Index r = 0; r < height; ++r)
                    panel[c * kPanel + r] = in[r * gallery_.row_stride + c * gallery_.col_stride];
        }
        Eigen::Map<Eigen::Array<T, kPanel, Eigen::Dynamic>> x(panel.data(), kPanel, d_);
        if (similarity_ == Similarity::kEuclidean)
            for (Index c = 0; c < d_; ++c) x.col(c) -= centre(c);
        double norm2[kPanel] = {};
        for (Index c = 0; c < d_; ++c) {
            const T* const column = panel.data() + c * kPanel;
            for (int r = 0; r < kPanel; ++r) norm2[r] += square(column[r]);
        }
        for (Index r = 0; r < height; ++r) check(norm2[r], 0, gallery_, row + r);
        bias.setZero();
        if (similarity_ == Similarity::kCosine) {
            Panel scale;
            for (int r = 0; r < kPanel; ++r) {
                const bool plain = has_reciprocal<T>(norm2[r]);
                scale[r] = static_cast<T>(plain ? 1 / std::sqrt(norm2[r]) : 1.0);
                if (!plain) to_unit_length(norm2[r], panel.data() + r, kPanel);
            }
            for (Index c = 0; c < d_; ++c) x.col(c) *= scale;
        } else if (similarity_ == Similarity::kEuclidean) {
            for (int r = 0; r < kPanel; ++r) bias[r] = static_cast<T>(-0.5 * norm2[r]);
        }
        // Padding scores less than anything.
        bias.tail(kPanel - height).setConstant(std::numeric_limits<T>::lowest());
        x.bottomRows(kPanel - height).setZero();
        return similarity_ == Similarity::kCosine
                   ? 1 + 0x1p-10
                   : std::sqrt(*std::max_element(norm2, norm2 + height)) * (1 + 0x1p-20);
    }
    double largest_bias(double longest) const {
        return similarity_ == Similarity::kEuclidean ? 0.5 * longest * longest : 0;
    }

    // The best of what a query had before the round and of what the n chunks of the round have found.
    void merge(Index q, Index n, Found& found, std::vector<Candidate<T>>& candidates) const {
        Candidate<T>* const best = found.best.get() + q * kept_;
        Index& count = found.counts[static_cast<std::size_t>(q)];
        candidates.assign(best, best + count);
        for (Index place = q * n_slots_; place < q * n_slots_ + n; ++place) {
            const Candidate<T>* const list = found.slots.get() + place * slot_;
            candidates.insert(candidates.end(), list,
                              list + found.slot_counts[static_cast<std::size_t>(place)]);
        }
        count = keep_best(candidates.data(), static_cast<Index>(candidates.size()), kept_);
        std::copy_n(candidates.data(), count, best);
        if (count == kept_) found.thresholds[static_cast<std::size_t>(q)] = best[kept_ - 1].score;
    }

    // The k best by scores in double.
    void answer(const MatrixView<T>& queries, Index q, const Found& found,
                std::vector<Candidate<double>>& best, Index* indices, T* scores) const {
        best.clear();
        const Index count = found.counts[static_cast<std::size_t>(q)];
        // Every row is offered with a finite score, so that there are k; were it not so, an error.
        if (count < k_) throw NumericalError("scores of a query are not numbers: scale the data");
        for (Index i = 0; i < count; ++i) {
            const Index row = found.best[static_cast<std::size_t>(q * kept_ + i)].index;
            best.push_back({score(queries, q, row), row});
        }
        std::partial_sort(best.begin(), best.begin() + k_, best.end());
        const double sign = similarity_ == Similarity::kEuclidean ? -1 : 1;
        for (Index i = 0; i < k_; ++i) {
            const Candidate<double>& c = best[static_cast<std::size_t>(i)];
            indices[i] = c.index;
            scores[i] = static_cast<T>(sign * c.score);
        }
    }

    // The score in double; a distance is negative here.
    double score(const MatrixView<T>& queries, Index q, Index row) const {
        const auto x = [&](Index c) { return static_cast<double>(gallery_(row, c)); };
        const auto y = [&](Index c) { return static_cast<double>(queries(q, c)); };
        if (similarity_ == Similarity::kEuclidean)
            return 0 - sum_over(d_, [&](Index c) { return square(x(c) - y(c)); });
        const double product = sum_over(d_, [&](Index c) { return x(c) * y(c); });
        if (similarity_ == Similarity::kInnerProduct) return product;
        const double xx = sum_over(d_, [&](Index c) { return square(x(c)); });
        const double yy = sum_over(d_, [&](Index c) { return square(y(c)); });
        if (xx >= kTiny && yy >= kTiny)
            return std::clamp(product / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
        const UnitLength u = unit_length(d_, xx, x), v = unit_length(d_, yy, y);
        return std::clamp(sum_over(d_, [&](Index c) { return u(x(c)) * v(y(c)); }), -1.0, 1.0);
    }

    // Distances do not change when both are shifted; squared lengths, from which they are taken, shrink. A
    // shift is a multiple of a power of two near the column's standard deviation: integers less a shift are
    // then short numbers still, whose distances are exact and tie where they are equal.
    void find_centre() {
        const Index n = std::min(kCentreRows, gallery_.rows);
        Eigen::ArrayXd sum = Eigen::ArrayXd::Zero(d_), squares = sum;
        centre_ = Vector<T>::Zero(d_);
        const auto at = [&](Index i, Index c) {
            return static_cast<double>(gallery_(i * gallery_.rows / n, c));
        };
        for (Index i = 0; i < n; ++i)
            for (Index c = 0; c < d_; ++c) sum[c] += at(i, c);
        const Eigen::ArrayXd mean = sum / static_cast<double>(n);
        for (Index i = 0; i < n; ++i)
            for (Index c = 0; c < d_; ++c) squares[c] += square(at(i, c) - mean[c]);
        for (Index c = 0; c < d_; ++c) {
            const double deviation = std::sqrt(squares[c] / static_cast<double>(n));
            if (!std::isfinite(deviation) || !(std::abs(mean[c]) > 4 * deviation)) continue;
            const double unit =
                deviation > 0 ? std::exp2(std::floor(std::log2(deviation))) : std::abs(mean[c]);
            centre_[c] = static_cast<T>(std::round(mean[c] / unit) * unit);
        }
    }
    T centre(Index c) const { return centre_.size() ? centre_[c] : T(0); }

    // With squared lengths below an eighth of the largest number no score and no partial sum overflows.
    void check(double norm2, std::size_t view, const MatrixView<T>& m, Index row) const {
        if (norm2 < static_cast<double>(std::numeric_limits<T>::max()) / 8) return;
        for (Index c = 0; c < d_; ++c)
            if (const T x = m(row, c); !std::isfinite(x)) throw NonFiniteError(view, row, c, std::isnan(x));
        throw std::invalid_argument("the squared length of a row overflows: scale the data down");
    }

    const MatrixView<T> gallery_, queries_;
    const Similarity similarity_;
    const Index k_, d_;
    bool sieves_ = false;             // by the matrix unit
    Index kept_ = 0;                  // candidates of a query
    Index query_block_ = 0;           // queries that a task takes at most
    Index group_ = 0;                 // queries whose candidates are held at once
    Index chunk_ = 0, n_chunks_ = 0;  // gallery rows of a task
    Index n_slots_ = 0, slot_ = 0;    // chunks of a round, candidates that one may find for a query
    Vector<T> centre_;
};

}  // namespace

template <typename T>
void top_k(const MatrixView<T>& gallery, const MatrixView<T>& queries, Similarity similarity, Index k,
           Index* indices, T* scores) {
    Search<T>(gallery, queries, similarity, k).run(indices, scores);
}

#define FASTCCA_INSTANTIATE(T) \
    template void top_k(const MatrixView<T>&, const MatrixView<T>&, Similarity, Index, Index*, T*);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE

}  // namespace fastcca
