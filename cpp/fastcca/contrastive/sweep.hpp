// The sweeps over the tiles of scores s_ij = scale x_i·y_j + bias: one for the sums of exponentials, one for
// the weights W_ij = dLoss/ds_ij and both products with them while the tile is in cache.
//
// As in the sweep of the hinge loss, side a is cut into panels of kPanel vectors, one in each lane, side b
// into groups of kTile. Both sides are cut into strips, and strip t of a meets strip (t + r) mod n of b in
// round r: in a round no two tasks add to the same sums, so that there is one sum of the size of each side,
// whatever the number of tasks.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/tile.hpp"

namespace fastcca {

// What W is made of.
//     kNarrow, kWide   f_i exp(s − m_i) + g_j exp(s − h_j); kNarrow with one m = h for all, where no
//                      exp(s − m) leaves the numbers of T
//     kNegatives       (f_i + g_j) σ(s)
//     kSigns           the same with the other sign, of s and of W, for equal codes
// Vectors of equal codes have W = 0 but for kSigns.
enum class ContrastiveRule { kNarrow, kWide, kNegatives, kSigns };

// A side: its vectors as columns, and a code for each.
template <typename T>
struct ContrastiveSide {
    Scratch<T> X;
    Vector<double> lengths;
    Vector<T> codes;  // exact in T, not negative

    ContrastiveSide(Index d, Index n) : X(d, n), codes(n) {}
};

// The factors and shifts of a side's vectors.
template <typename T>
struct ContrastiveFactors {
    Vector<T> factor, shift;
};

// Σ exp(s) over the other side, as sum exp(largest).
struct Exponentials {
    double largest = 0, sum = 0;
};

template <typename T, ContrastiveRule kRule>
class ContrastiveSweep {
    using Tile = SweepTile<T>;
    using Packet = typename Tile::Packet;
    static constexpr Index kBlock = 128;              // vectors of side b that meet a tile of side a at once
    static constexpr Index kTileNumbers = 48 * 1024;  // of a packed tile of side a
    static constexpr Index kMostStrips = 32;
    static constexpr Index kPanel = Tile::kPanel, kTile = Tile::kTile, kLanes = Tile::kLanes,
                           kVectors = Tile::kVectors;
    static constexpr bool kSoftmax = kRule == ContrastiveRule::kNarrow || kRule == ContrastiveRule::kWide;
    static constexpr T kNone = -std::numeric_limits<T>::infinity();

 public:
    // `largest`: a bound of |s|.
    ContrastiveSweep(const ContrastiveSide<T>& a, const ContrastiveSide<T>& b, double scale, double bias,
                     double largest)
        : a_(a),
          b_(b),
          scale_(static_cast<T>(scale)),
          largest_(static_cast<T>(largest)),
          d_(a.X.rows()),
          n_a_(a.X.cols()),
          n_b_(b.X.cols()),
          n_panels_(Tile::panels(n_a_)),
          n_groups_(Tile::groups(n_b_)),
          entry_panels_(Tile::panels(d_)),
          entry_groups_(Tile::groups(d_)),
          n_blocks_((n_b_ + kBlock - 1) / kBlock) {
        tile_panels_ = std::clamp(kTileNumbers / (kPanel * d_), Index{1}, Index{4});
        const double flops =
            8.0 * static_cast<double>(d_) * static_cast<double>(n_a_) * static_cast<double>(n_b_);
        most_tasks_ = std::clamp(static_cast<Index>(std::min(flops / 1.5e7, 1e6)), Index{1}, kMostStrips);
        // What pads the last panel and group has scores of −∞ and a code of its own.
        a_start_.setConstant(n_panels_ * kPanel, kNone);
        a_start_.head(n_a_).setZero();
        b_start_.setConstant(n_groups_ * kTile, kNone);
        b_start_.head(n_b_).setConstant(static_cast<T>(bias));
        a_codes_.setConstant(n_panels_ * kPanel, T(-1));
        a_codes_.head(n_a_) = a.codes;
        b_codes_.setConstant(n_groups_ * kTile, T(-2));
        b_codes_.head(n_b_) = b.codes;
        scores_b_ = Scratch<T>(n_groups_ * kTile * d_, 1);
        parallel_for(n_blocks_, [&](Index block) {
            const Index first = block * kBlock, count = std::min(kBlock, n_b_ - first);
            pack_panels(b_.X, first, count, kTile, scores_b_.data() + first * d_);
        });
    }

    // Σ_j exp(s_ij) of each i and Σ_i exp(s_ij) of each j, but for equal codes.
    void sum_exponentials(std::vector<Exponentials>& of_a, std::vector<Exponentials>& of_b) const {
        of_a.assign(static_cast<std::size_t>(n_panels_ * kPanel), start());
        const Index n_tasks = std::min(n_panels_, most_tasks_);
        std::vector<std::vector<Exponentials>> parts(static_cast<std::size_t>(n_tasks));
        parallel_for(n_tasks, [&](Index task) {
            auto& part = parts[static_cast<std::size_t>(task)];
            part.assign(static_cast<std::size_t>(n_groups_ * kTile), start());
            Scratch<T> scores(tile_panels_ * kPanel * d_, 1), s(kBlock * kPanel, 1);
            for_tiles(n_panels_ * task / n_tasks, n_panels_ * (task + 1) / n_tasks,
                      [&](Index first, Index count) {
                          pack_panels(a_.X, first, count, kPanel, scores.data());
                          for (Index block = 0; block < n_blocks_; ++block) {
                              poll();
                              const Index b = block * kBlock, groups = groups_of(block);
                              for (Index at = 0; at < count; at += kPanel) {
                                  const Index vectors = vectors_of(count - at);
                                  for (Index g = 0; g < groups; ++g)
                                      score(vectors, scores.data() + at * d_, first + at, b + g * kTile,
                                            s.data() + g * kTile * kPanel);
                                  add_exponentials(vectors, b, groups * kTile, s.data(),
                                                   of_a.data() + first + at, part.data() + b);
                              }
                          }
                      });
        });
        of_a.resize(static_cast<std::size_t>(n_a_));
        of_b = std::move(parts[0]);
        for (Index task = 1; task < n_tasks; ++task)
            for (Index j = 0; j < n_b_; ++j)
                add(of_b[static_cast<std::size_t>(j)],
                    parts[static_cast<std::size_t>(task)][static_cast<std::size_t>(j)]);
        of_b.resize(static_cast<std::size_t>(n_b_));
    }

    // Σ W, and for the sigmoid the sum of the losses.
    struct Totals {
        double value = 0, weights = 0;
    };

    // G_a = Σ_j W_ij y_j (d × n_a) and the sums of side b, for finish_b; G_a nullptr: the totals alone.
    Totals run(const ContrastiveFactors<T>& a, const ContrastiveFactors<T>& b, Scratch<T>* G_a) {
        f_ = padded(a.factor, n_panels_ * kPanel);
        g_ = padded(b.factor, n_groups_ * kTile);
        m_ = padded(a.shift, n_panels_ * kPanel);
        h_ = padded(b.shift, n_groups_ * kTile);
        const Index padded_b = n_groups_ * kTile, n = std::min({n_panels_, n_blocks_, most_tasks_});
        if (G_a) {
            G_b_ = Scratch<T>(padded_b * entry_panels_ * kPanel, 1);
            entries_b_ = Scratch<T>(padded_b * entry_groups_ * kTile, 1);
            parallel_for(n_blocks_, [&](Index block) {
                const Index first = block * kBlock, count = std::min(kBlock, n_b_ - first);
                pack_entries<T>(b_.X, first, count, Tile::groups(count) * kTile, kTile, nullptr,
                                padded_b * kTile, entries_b_.data() + first * kTile);
                const Index size = entry_panels_ * kPanel;
                std::fill_n(G_b_.data() + first * size, groups_of(block) * kTile * size, T(0));
            });
        }
        std::vector<Totals> totals(static_cast<std::size_t>(n * n));
        for (Index round = 0; round < n; ++round)
            parallel_for(n, [&](Index strip) {
                const Index other = (strip + round) % n;
                Workspace space(*this, G_a != nullptr);
                for_tiles(n_panels_ * strip / n, n_panels_ * (strip + 1) / n, [&](Index first, Index count) {
                    tile(first, count, n_blocks_ * other / n, n_blocks_ * (other + 1) / n, round == 0, space,
                         G_a, totals[static_cast<std::size_t>(round * n + strip)]);
                });
            });
        Totals sum;
        for (const Totals& part : totals) {
            sum.value += part.value;
            sum.weights += part.weights;
        }
        return sum;
    }

    // Σ_i W_ij x_i of one j, from the run before.
    void side_b(Index j, Eigen::Ref<Vector<double>> out) const {
        const T* G = G_b_.data() + (j / kTile * entry_panels_ * kTile + j % kTile) * kPanel;
        for (Index k = 0; k < d_; k += kPanel, G += kTile * kPanel)
            for (Index l = 0; l < std::min(kPanel, d_ - k); ++l) out[k + l] = static_cast<double>(G[l]);
    }

 private:
    // What a task works in.
    struct Workspace {
        Scratch<T> scores, entries;  // the tile of side a, packed for both products
        Scratch<T> m, turned;        // the weights: [panel][b][a] and [group of b][a][b]
        Scratch<T> G, columns;       // G_a: [panel][group of entries][entry][a], and d × kPanel
        Scratch<T> s;

        Workspace(const ContrastiveSweep& sweep, bool gradients)
            : Workspace(sweep.tile_panels_ * kPanel, sweep, gradients ? 1 : 0) {}
        Workspace(Index lanes, const ContrastiveSweep& sweep, Index wanted)
            : scores(lanes * sweep.d_, 1),
              entries(wanted * lanes * sweep.entry_panels_ * kPanel, 1),
              m(wanted * lanes * kBlock, 1),
              turned(wanted * lanes * kTile, 1),
              G(wanted * lanes * sweep.entry_groups_ * kTile, 1),
              columns(wanted * sweep.d_ * kPanel, 1),
              s(kTile * kPanel, 1) {}
    };

    static Vector<T> padded(const Vector<T>& v, Index n) {
        Vector<T> out = Vector<T>::Zero(n);
        out.head(v.size()) = v;
        return out;
    }

    static Index vectors_of(Index lanes) { return (std::min(lanes, kPanel) + kLanes - 1) / kLanes; }
    Index groups_of(Index block) const {
        return std::min(kBlock / kTile, n_groups_ - block * (kBlock / kTile));
    }

    // Tiles of nearly equal size: the first vector of each and how many there are.
    template <typename F>
    void for_tiles(Index first, Index last, const F& f) const {
        const Index count = last - first, n = (count + tile_panels_ - 1) / tile_panels_;
        for (Index i = 0; i < n; ++i) {
            const Index start = (first + count * i / n) * kPanel,
                        end = (first + count * (i + 1) / n) * kPanel;
            f(start, std::min(end, n_a_) - start);
        }
    }

    // s = scale x_a·y_b + bias for a panel and a group, −∞ for what is left out
    void score(Index vectors, const T* panel, Index a, Index b, T* s) const {
        using namespace packets;
        // The sums leave the registers as they are: with more to do at its end the product's loop loses them.
        Tile::product(
            vectors, panel, scores_b_.data() + b * d_, d_, [](Index, Index) { return pset1<Packet>(T(0)); },
            [s](Index j, Index v, const Packet& sum) { pstore(s + j * kPanel + v * kLanes, sum); });
        const Packet scale = pset1<Packet>(scale_), none = pset1<Packet>(kNone);
        for (Index j = 0; j < kTile; ++j) {
            const Packet start = pset1<Packet>(b_start_[b + j]), code = pset1<Packet>(b_codes_[b + j]);
            for (Index v = 0; v < vectors; ++v) {
                T* to = s + j * kPanel + v * kLanes;
                const Packet at = padd(pload<Packet>(a_start_.data() + a + v * kLanes), start);
                Packet score = pmadd(pload<Packet>(to), scale, at);
                if constexpr (kRule != ContrastiveRule::kSigns)
                    score =
                        pselect(pcmp_eq(pload<Packet>(a_codes_.data() + a + v * kLanes), code), none, score);
                pstore(to, score);
            }
        }
    }

    // exp(x), 0 below the normal numbers of T
    static Packet exponential(const Packet& x) {
        using namespace packets;
        const Packet least = pset1<Packet>(sizeof(T) == 4 ? T(-87) : T(-708));
        return pand(pcmp_lt(least, x), pexp(x));
    }

    Exponentials start() const {
        if (kRule == ContrastiveRule::kNarrow) return {static_cast<double>(largest_), 0};
        return {-static_cast<double>(std::numeric_limits<T>::max()), 0};
    }

    static void add(Exponentials& to, const Exponentials& from) {
        const double largest = std::max(to.largest, from.largest);
        to.sum = to.sum * std::exp(to.largest - largest) + from.sum * std::exp(from.largest - largest);
        to.largest = largest;
    }

    // The scores of a panel and `n` vectors of side b, into the sums of both.
    void add_exponentials(Index vectors, Index b, Index n, const T* s, Exponentials* of_a,
                          Exponentials* of_b) const {
        using namespace packets;
        const Index used = std::min(n, n_b_ - b);
        Packet sum[kVectors], shift[kVectors];
        for (Index v = 0; v < vectors; ++v) sum[v] = pset1<Packet>(T(0));
        alignas(64) T lanes[kPanel];
        if constexpr (kRule == ContrastiveRule::kWide) {
            for (Index v = 0; v < vectors; ++v) {
                Packet most = pload<Packet>(s + v * kLanes);
                for (Index j = 1; j < used; ++j)
                    most = pmax(most, pload<Packet>(s + j * kPanel + v * kLanes));
                pstore(lanes + v * kLanes, most);
            }
            for (Index l = 0; l < vectors * kLanes; ++l) {
                add(of_a[l], {std::max(static_cast<double>(lanes[l]), start().largest), 0});
                lanes[l] = static_cast<T>(of_a[l].largest);
            }
            for (Index v = 0; v < vectors; ++v) shift[v] = pload<Packet>(lanes + v * kLanes);
        } else {
            for (Index v = 0; v < vectors; ++v) shift[v] = pset1<Packet>(largest_);
        }
        for (Index j = 0; j < used; ++j) {
            Packet of_j = pset1<Packet>(T(0));
            for (Index v = 0; v < vectors; ++v) {
                const Packet e = exponential(psub(pload<Packet>(s + j * kPanel + v * kLanes), shift[v]));
                sum[v] = padd(sum[v], e);
                of_j = padd(of_j, e);
            }
            if constexpr (kRule == ContrastiveRule::kWide) {
                Packet most = pload<Packet>(s + j * kPanel);
                for (Index v = 1; v < vectors; ++v)
                    most = pmax(most, pload<Packet>(s + j * kPanel + v * kLanes));
                const double largest = std::max(static_cast<double>(predux_max(most)), start().largest);
                if (largest > of_b[j].largest) add(of_b[j], {largest, 0});
                const Packet of_all = pset1<Packet>(static_cast<T>(of_b[j].largest));
                of_j = pset1<Packet>(T(0));
                for (Index v = 0; v < vectors; ++v)
                    of_j = padd(of_j, exponential(psub(pload<Packet>(s + j * kPanel + v * kLanes), of_all)));
            }
            of_b[j].sum += static_cast<double>(predux(of_j));
        }
        for (Index v = 0; v < vectors; ++v) pstore(lanes + v * kLanes, sum[v]);
        for (Index l = 0; l < vectors * kLanes; ++l) of_a[l].sum += static_cast<double>(lanes[l]);
    }

    // W of a panel and a group, from s; adds to the lanes' sums of W and of the losses.
    void weigh(Index vectors, Index a, Index b, const T* s, T* m, Packet* value, Packet* weights) const {
        using namespace packets;
        const Packet zero = pset1<Packet>(T(0)), one = pset1<Packet>(T(1));
        for (Index j = 0; j < kTile; ++j) {
            const Packet g = pset1<Packet>(g_[b + j]);
            [[maybe_unused]] const Packet h = pset1<Packet>(h_[b + j]);
            for (Index v = 0; v < vectors; ++v) {
                const Packet f = pload<Packet>(f_.data() + a + v * kLanes);
                [[maybe_unused]] const Packet shift = pload<Packet>(m_.data() + a + v * kLanes);
                Packet x = pload<Packet>(s + j * kPanel + v * kLanes), w;
                if constexpr (kRule == ContrastiveRule::kNarrow) {
                    w = pmul(padd(f, g), exponential(psub(x, shift)));
                } else if constexpr (kRule == ContrastiveRule::kWide) {
                    w = pmadd(f, exponential(psub(x, shift)), pmul(g, exponential(psub(x, h))));
                } else {
                    [[maybe_unused]] Packet equal = zero;
                    if constexpr (kRule == ContrastiveRule::kSigns) {
                        equal = pcmp_eq(pload<Packet>(a_codes_.data() + a + v * kLanes),
                                        pset1<Packet>(b_codes_[b + j]));
                        x = pselect(equal, psub(zero, x), x);
                    }
                    // e = exp(−|x|):  log(1 + exp x) = max(x, 0) + log(1 + e);  σ(x) = (1 or e) / (1 + e)
                    const Packet e = exponential(psub(zero, pabs(x))), u = padd(one, e), both = padd(f, g);
                    const Packet log = padd(plog(u), pdiv(psub(e, psub(u, one)), u));
                    value[v] = pmadd(both, padd(pmax(x, zero), log), value[v]);
                    w = pmul(both, pdiv(pselect(pcmp_lt(zero, x), one, e), u));
                    if constexpr (kRule == ContrastiveRule::kSigns) w = pselect(equal, psub(zero, w), w);
                    weights[v] = padd(weights[v], w);
                }
                if (m) pstore(m + j * kPanel + v * kLanes, w);
            }
        }
    }

    // A tile of side a and some blocks of side b.
    void tile(Index first, Index count, Index first_block, Index last_block, bool is_first, Workspace& t,
              Scratch<T>* G_a, Totals& totals) {
        using namespace packets;
        const Index n_panels = (count + kPanel - 1) / kPanel;
        pack_panels(a_.X, first, count, kPanel, t.scores.data());
        if (G_a) {
            pack_entries<T>(a_.X, first, count, count, kPanel, nullptr, count * kPanel, t.entries.data());
            std::fill_n(t.G.data(), n_panels * kPanel * entry_groups_ * kTile, T(0));
        }
        for (Index block = first_block; block < last_block; ++block) {
            poll();
            const Index group = block * (kBlock / kTile), n_groups = groups_of(block),
                        depth = n_groups * kTile;
            for (Index start = 0, p = 0; start < count; start += kPanel, ++p) {
                const Index vectors = vectors_of(count - start);
                Packet value[kVectors], weights[kVectors];
                for (Index v = 0; v < kVectors; ++v) value[v] = weights[v] = pset1<Packet>(T(0));
                for (Index g = 0; g < n_groups; ++g) {
                    const Index b = (group + g) * kTile;
                    score(vectors, t.scores.data() + start * d_, first + start, b, t.s.data());
                    weigh(vectors, first + start, b, t.s.data(),
                          G_a ? t.m.data() + (p * kBlock + g * kTile) * kPanel : nullptr, value, weights);
                }
                if constexpr (!kSoftmax) {
                    for (Index v = 0; v < vectors; ++v) {
                        totals.value += static_cast<double>(predux(value[v]));
                        totals.weights += static_cast<double>(predux(weights[v]));
                    }
                }
                if (!G_a) continue;
                // G_a += W y, over the block
                const T* m = t.m.data() + p * kBlock * kPanel;
                T* G = t.G.data() + start * entry_groups_ * kTile;
                for (Index e = 0; e < entry_groups_; ++e)
                    Tile::add_product(vectors, m, entries_b_.data() + (e * n_groups_ + group) * kTile * kTile,
                                      depth, G + e * kTile * kPanel);
            }
            if (!G_a) continue;
            for (Index g = 0; g < n_groups; ++g) {
                for (Index start = 0, p = 0; start < count; start += kPanel, ++p)
                    transpose(t.m.data() + (p * kBlock + g * kTile) * kPanel, kPanel, kPanel, Index{kTile},
                              t.turned.data() + start * kTile, Index{kTile});
                // G_b += x W, over the tile
                T* G = G_b_.data() + (group + g) * entry_panels_ * kTile * kPanel;
                for (Index e = 0; e < entry_panels_; ++e) {
                    const Index used = std::min(kPanel, d_ - e * kPanel);
                    Tile::add_product((used + kLanes - 1) / kLanes, t.entries.data() + e * count * kPanel,
                                      t.turned.data(), count, G + e * kTile * kPanel);
                }
            }
        }
        if (!G_a) return;
        for (Index start = 0; start < count; start += kPanel) {
            transpose(t.G.data() + start * entry_groups_ * kTile, kPanel, kPanel, d_, t.columns.data(), d_);
            for (Index l = 0; l < std::min(kPanel, count - start); ++l) {
                Eigen::Map<const Vector<T>> column(t.columns.data() + l * d_, d_);
                auto to = G_a->col(first + start + l);
                if (is_first) {
                    to = column;
                } else {
                    to += column;
                }
            }
        }
    }

    const ContrastiveSide<T>&a_, &b_;
    T scale_, largest_;
    Index d_, n_a_, n_b_, n_panels_, n_groups_, entry_panels_, entry_groups_, n_blocks_, tile_panels_ = 1,
                                                                                         most_tasks_ = 1;
    Vector<T> a_start_, b_start_, a_codes_, b_codes_, f_, g_, m_, h_;
    Scratch<T> scores_b_{0, 0}, entries_b_{0, 0}, G_b_{0, 0};
};

}  // namespace fastcca
