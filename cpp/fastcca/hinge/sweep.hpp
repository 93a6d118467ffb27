// One sweep over the tiles of a matrix of scores, from which the violations, their weights and both products
// with the weights are taken while the tile is in cache.
//
// There are two sides, of n_a and n_b vectors of d entries (samples and nodes, either way around). With
//     s_ab = x_a·x_b + α_a + β_b,   m_ab = [s_ab > 0]   (0 for a sample and its own node)
// the sweep gives
//     G_a = Σ_b m_ab y_b,   G_b = Σ_a m_ab y_a,
// for every sample Σ [s]₊ and Σ m, for every node Σ ω m, where y = ω x for samples and y = x for nodes.
//
// Side a is cut into panels of kPanel vectors, one in each lane; side b into groups of kTile. A micro-tile of
// kPanel × kTile sums is held in registers, and all three products have that form:
//     scores      panel of a        × group of b,              over the d entries
//     G_a         panel of m        × group of y_b's entries,  over b
//     G_b         panel of y_a's entries × group of m,         over a
#pragma once

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/parts.hpp"
#include "fastcca/hinge/tile.hpp"

namespace fastcca {

// Σ [s]₊ and Σ m of a sample.
struct SampleSums {
    double value = 0, count = 0;
};

// Side a holds the samples or the nodes: the larger side, which the tasks divide among them.
template <typename T, bool kSamplesFirst>
class HingeSweep {
    using Tile = SweepTile<T>;
    using Packet = typename Tile::Packet;
    // Vectors of side b that meet a tile of side a at once.
    static constexpr Index kBlock = 128;
    // Numbers of a packed tile of side a, so that it and what belongs to it stay in cache.
    static constexpr Index kTileNumbers = 48 * 1024;
    // Vectors in a task of the passes over side b.
    static constexpr Index kRows = 256;
    static constexpr Index kPanel = Tile::kPanel, kTile = Tile::kTile, kLanes = Tile::kLanes,
                           kVectors = Tile::kVectors;

 public:
    // `offsets`: of the samples, such that s = z·u_c + bias_c + offset (less the costs' part).
    HingeSweep(const HingeProblem<T>& problem, const HingeOperands<T>& operands, const Vector<T>& offsets)
        : problem_(problem),
          o_(operands),
          offsets_(offsets),
          d_(problem.Z.cols),
          n_a_(kSamplesFirst ? problem.Z.rows : problem.U.rows),
          n_b_(kSamplesFirst ? problem.U.rows : problem.Z.rows),
          n_panels_(Tile::panels(n_a_)),
          n_groups_(Tile::groups(n_b_)),
          entry_panels_(Tile::panels(d_)),
          entry_groups_(Tile::groups(d_)) {
        const double flops =
            6.0 * static_cast<double>(d_) * static_cast<double>(n_a_) * static_cast<double>(n_b_);
        // Enough for the threads, but each has sums of its own of the size of side b.
        const double wanted = flops < 1.6e7 ? flops / 3.5e6 : std::clamp(flops / 4e8, 4.0, 16.0);
        n_tasks_ = std::clamp(static_cast<Index>(wanted), Index{1}, n_panels_);
        block_ = std::min(kBlock, n_groups_ * kTile);
        tile_panels_ = std::clamp(kTileNumbers / (kPanel * d_), Index{1}, Index{4});
    }

    // The sums of every sample for weights ω of the samples; with `gradients`, those too.
    std::vector<SampleSums> run(const Vector<T>& weights, const HingeGradients<T>* gradients) {
        weights_ = &weights;
        gradients_ = gradients;
        sums_.assign(static_cast<std::size_t>(problem_.Z.rows), {});
        pack_side_b();
        std::vector<Part> parts(static_cast<std::size_t>(n_tasks_));
        if (gradients_)
            for (Part& part : parts) part.G = Scratch<T>(n_groups_ * entry_panels_ * kTile * kPanel, 1);
        parallel_for(n_tasks_, [&](Index task) {
            Part& part = parts[static_cast<std::size_t>(task)];
            Workspace space(*this);
            if (gradients_) {
                part.G.setZero();
                if (kSamplesFirst) part.w.setZero(n_groups_ * kTile);
            }
            if (!kSamplesFirst) part.sums.resize(static_cast<std::size_t>(n_groups_ * kTile));
            // In tiles of nearly equal size.
            const Index first = n_panels_ * task / n_tasks_,
                        count = n_panels_ * (task + 1) / n_tasks_ - first;
            const Index n_tiles = (count + tile_panels_ - 1) / tile_panels_;
            for (Index i = 0; i < n_tiles; ++i) {
                const Index start = count * i / n_tiles, end = count * (i + 1) / n_tiles;
                tile(first + start, end - start, space, part);
            }
        });
        finish_side_b(parts);
        return std::move(sums_);
    }

 private:
    // What a task sums for side b: G_b as [group][part of kPanel entries][vector][entry], and for nodes w,
    // for samples their sums.
    struct Part {
        Scratch<T> G{0, 0};
        Vector<double> w;
        std::vector<SampleSums> sums;
    };

    // What a task works in, in one piece of kept memory.
    struct Workspace {
        Scratch<T> memory;
        T *scores, *entries;  // the tile of side a, packed for both products
        T *m, *turned;        // the weights: [panel][b][a] and [group of b][a][b]
        T* G;                 // G_a of the tile: [panel][group of entries][entry][a]
        T* columns;           // d × kPanel
        T *s, *offset, *weight, *first, *second;

        explicit Workspace(const HingeSweep& sweep) : memory(sweep.workspace(nullptr), 1) {
            sweep.workspace(this);
        }
    };

    // The numbers of a workspace; lays it out.
    Index workspace(Workspace* to) const {
        const Index lanes = tile_panels_ * kPanel, if_wanted = gradients_ ? 1 : 0;
        Index used = 0;
        const auto take = [&](T* Workspace::* where, Index n) {
            if (to) to->*where = to->memory.data() + used;
            used += (n + kPanel - 1) / kPanel * kPanel;  // aligned for packets
        };
        take(&Workspace::scores, lanes * d_);
        take(&Workspace::entries, if_wanted * lanes * entry_panels_ * kPanel);
        take(&Workspace::m, if_wanted * lanes * block_);
        take(&Workspace::turned, if_wanted * lanes * kTile);
        take(&Workspace::G, if_wanted * lanes * entry_groups_ * kTile);
        take(&Workspace::columns, if_wanted * d_ * kPanel);
        take(&Workspace::s, kTile * kPanel);
        for (T* Workspace::* where :
             {&Workspace::offset, &Workspace::weight, &Workspace::first, &Workspace::second})
            take(where, kPanel);
        return used;
    }

    const Scratch<T>& side_a() const { return kSamplesFirst ? o_.Z : o_.U; }
    const Scratch<T>& side_b() const { return kSamplesFirst ? o_.U : o_.Z; }
    const Vector<T>& offsets_a() const { return kSamplesFirst ? offsets_ : o_.bias; }
    const Vector<T>& offsets_b() const { return kSamplesFirst ? o_.bias : offsets_; }

    // Side b is packed once, for all tasks. What pads its last group never violates.
    void pack_side_b() {
        const Index padded = n_groups_ * kTile;
        offset_b_.setConstant(padded, -std::numeric_limits<T>::infinity());
        offset_b_.head(n_b_) = offsets_b();
        scores_b_ = Scratch<T>(padded * d_, 1);
        if (gradients_) entries_b_ = Scratch<T>(padded * entry_groups_ * kTile, 1);
        parallel_for((n_b_ + kBlock - 1) / kBlock, [&](Index block) {
            const Index first = block * kBlock, count = std::min(kBlock, n_b_ - first);
            pack_panels(side_b(), first, count, kTile, scores_b_.data() + first * d_);
            if (!gradients_) return;
            pack_entries(side_b(), first, count, Tile::groups(count) * kTile, kTile,
                         kSamplesFirst ? nullptr : weights_->data(), padded * kTile,
                         entries_b_.data() + first * kTile);
        });
    }

    void tile(Index panel, Index n_panels, Workspace& t, Part& part) {
        const Index first = panel * kPanel, count = std::min(n_panels * kPanel, n_a_ - first);
        pack_panels(side_a(), first, count, kPanel, t.scores);
        if (gradients_) {
            pack_entries(side_a(), first, count, count, kPanel, kSamplesFirst ? weights_->data() : nullptr,
                         count * kPanel, t.entries);
            std::fill(t.G, t.G + n_panels * kPanel * entry_groups_ * kTile, T(0));
        }
        std::vector<double> sums_a(static_cast<std::size_t>(2 * n_panels * kPanel), 0.0);
        for (Index group = 0; group < n_groups_; group += kBlock / kTile) {
            poll();
            const Index n_groups = std::min(kBlock / kTile, n_groups_ - group);
            meet(first, count, group, n_groups, t, part, sums_a.data());
        }
        finish_side_a(first, count, t, sums_a.data());
    }

    // A tile of side a and a block of side b: scores, violations, both products.
    void meet(Index first, Index count, Index group, Index n_groups, Workspace& t, Part& part,
              double* sums_a) {
        const Index depth = n_groups * kTile;
        bool any_of_group[kBlock / kTile] = {};
        for (Index start = 0, p = 0; start < count; start += kPanel, ++p) {
            const Index lanes = std::min(kPanel, count - start), vectors = (lanes + kLanes - 1) / kLanes;
            std::fill(t.offset, t.offset + kPanel, -std::numeric_limits<T>::infinity());
            std::fill(t.weight, t.weight + kPanel, T(0));
            std::fill(t.first, t.first + kPanel, T(0));
            std::fill(t.second, t.second + kPanel, T(0));
            for (Index l = 0; l < lanes; ++l) {
                t.offset[l] = offsets_a()[first + start + l];
                if (kSamplesFirst) t.weight[l] = (*weights_)[first + start + l];
            }
            bool any_of_panel = false;
            for (Index g = 0; g < n_groups; ++g) {
                const Index b = (group + g) * kTile;
                score(vectors, t.scores + start * d_, b, t);
                correct(first + start, lanes, b, t.s);
                T* m = gradients_ ? t.m + (p * block_ + g * kTile) * kPanel : nullptr;
                if (!violations(vectors, b, m, t, part)) continue;
                any_of_group[g] = any_of_panel = true;
            }
            for (Index l = 0; l < lanes; ++l) {
                sums_a[2 * (start + l)] += static_cast<double>(t.first[l]);
                sums_a[2 * (start + l) + 1] += static_cast<double>(t.second[l]);
            }
            if (!gradients_ || !any_of_panel) continue;
            // G_a += m y_b, over the block
            const T* m = t.m + p * block_ * kPanel;
            T* G = t.G + start * entry_groups_ * kTile;
            for (Index e = 0; e < entry_groups_; ++e)
                Tile::add_product(vectors, m, entries_b_.data() + (e * n_groups_ + group) * kTile * kTile,
                                  depth, G + e * kTile * kPanel);
        }
        if (!gradients_) return;
        for (Index g = 0; g < n_groups; ++g) {
            if (!any_of_group[g]) continue;
            for (Index start = 0, p = 0; start < count; start += kPanel, ++p)
                transpose(t.m + (p * block_ + g * kTile) * kPanel, kPanel, kPanel, Index{kTile},
                          t.turned + start * kTile, Index{kTile});
            // G_b += y_a m, over the tile
            T* G = part.G.data() + (group + g) * entry_panels_ * kTile * kPanel;
            for (Index e = 0; e < entry_panels_; ++e) {
                const Index used = std::min(kPanel, d_ - e * kPanel);
                Tile::add_product((used + kLanes - 1) / kLanes, t.entries + e * count * kPanel, t.turned,
                                  count, G + e * kTile * kPanel);
            }
        }
    }

    // s = x_a·x_b + α_a + β_b for a panel and a group
    void score(Index vectors, const T* panel, Index b, Workspace& t) const {
        using namespace packets;
        const T* beta = offset_b_.data() + b;
        Tile::product(
            vectors, panel, scores_b_.data() + b * d_, d_,
            [&](Index j, Index v) {
                return padd(pload<Packet>(t.offset + v * kLanes), pset1<Packet>(beta[j]));
            },
            [&](Index j, Index v, const Packet& sum) { pstore(t.s + j * kPanel + v * kLanes, sum); });
    }

    // The costs, and nothing for a sample and its own node.
    void correct(Index a, Index lanes, Index b, T* s) const {
        const Index used = std::min(kTile, n_b_ - b);
        if (problem_.costs.data) {
            const T scale = T(1) / o_.slope;
            for (Index j = 0; j < used; ++j)
                for (Index l = 0; l < lanes; ++l) {
                    const Index i = kSamplesFirst ? a + l : b + j, c = kSamplesFirst ? b + j : a + l;
                    s[j * kPanel + l] += scale * problem_.costs(problem_.y[i], c);
                }
        }
        if constexpr (kSamplesFirst) {
            for (Index l = 0; l < lanes; ++l) {
                const Index j = problem_.y[a + l] - b;
                if (j >= 0 && j < used) s[j * kPanel + l] = 0;
            }
        } else {
            for (Index j = 0; j < used; ++j) {
                const Index l = problem_.y[b + j] - a;
                if (l >= 0 && l < lanes) s[j * kPanel + l] = 0;
            }
        }
    }

    // From s the weights m (unless nullptr) and the sums; whether any weight is not zero.
    bool violations(Index vectors, Index b, T* m, Workspace& t, Part& part) const {
        using namespace packets;
        const Packet zero = pset1<Packet>(T(0)), one = pset1<Packet>(T(1));
        T any = 0;
        for (Index j = 0; j < kTile; ++j) {
            const Packet weight = pset1<Packet>(kSamplesFirst || b + j >= n_b_ ? T(0) : (*weights_)[b + j]);
            Packet sum = zero, count = zero;
            for (Index v = 0; v < vectors; ++v) {
                const Packet s = pload<Packet>(t.s + j * kPanel + v * kLanes);
                const Packet violated = pand(pcmp_lt(zero, s), one);
                if (m) pstore(m + j * kPanel + v * kLanes, violated);
                T *first = t.first + v * kLanes, *second = t.second + v * kLanes;
                if constexpr (kSamplesFirst) {
                    pstore(first, padd(pload<Packet>(first), pmax(s, zero)));
                    pstore(second, padd(pload<Packet>(second), violated));
                    sum = pmadd(violated, pload<Packet>(t.weight + v * kLanes), sum);
                } else {
                    pstore(first, pmadd(violated, weight, pload<Packet>(first)));
                    sum = padd(sum, pmax(s, zero));
                }
                count = padd(count, violated);
            }
            const T violators = predux(count);
            any += violators;
            if constexpr (kSamplesFirst) {
                if (gradients_) part.w[b + j] += static_cast<double>(predux(sum));
            } else {
                SampleSums& sums = part.sums[static_cast<std::size_t>(b + j)];
                sums.value += static_cast<double>(predux(sum));
                sums.count += static_cast<double>(violators);
            }
        }
        return any > 0;
    }

    void finish_side_a(Index first, Index count, Workspace& t, const double* sums_a) {
        for (Index start = 0; start < count; start += kPanel) {
            const Index lanes = std::min(kPanel, count - start);
            if (kSamplesFirst) {
                for (Index l = 0; l < lanes; ++l)
                    sums_[static_cast<std::size_t>(first + start + l)] = {sums_a[2 * (start + l)],
                                                                          sums_a[2 * (start + l) + 1]};
            }
            if (!gradients_) continue;
            const T* G = t.G + start * entry_groups_ * kTile;
            transpose(G, kPanel, kPanel, d_, t.columns, d_);
            Eigen::Map<Matrix<T>> columns(t.columns, d_, kPanel);
            for (Index l = 0; l < lanes; ++l) {
                if constexpr (kSamplesFirst) {
                    set_sample(first + start + l, columns.col(l));
                } else {
                    gradients_->set_node(first + start + l, sums_a[2 * (start + l)], columns.col(l));
                }
            }
        }
    }

    // dLoss/dz = f(ω (Σ m u_c − n u_y))
    void set_sample(Index i, Eigen::Ref<Vector<T>> P) const {
        const T n = static_cast<T>(sums_[static_cast<std::size_t>(i)].count);
        P = (*weights_)[i] * (P - n * o_.U.col(problem_.y[i]));
        gradients_->set_sample(i, P);
    }

    void finish_side_b(const std::vector<Part>& parts) {
        if (kSamplesFirst && !gradients_) return;
        parallel_for((n_b_ + kRows - 1) / kRows, [&](Index block) {
            Vector<double> column(d_);
            Vector<T> rounded(d_);
            for (Index b = block * kRows; b < std::min(n_b_, (block + 1) * kRows); ++b) {
                double w = 0;
                column.setZero();
                for (const Part& part : parts) {
                    if constexpr (kSamplesFirst) {
                        w += part.w[b];
                    } else {
                        const SampleSums& from = part.sums[static_cast<std::size_t>(b)];
                        SampleSums& to = sums_[static_cast<std::size_t>(b)];
                        to.value += from.value;
                        to.count += from.count;
                    }
                    if (!gradients_) continue;
                    const T* G = part.G.data() + (b / kTile * entry_panels_ * kTile + b % kTile) * kPanel;
                    for (Index k = 0; k < d_; k += kPanel, G += kTile * kPanel)
                        for (Index l = 0; l < std::min(kPanel, d_ - k); ++l)
                            column[k + l] += static_cast<double>(G[l]);
                }
                if (!gradients_) continue;
                rounded = column.template cast<T>();
                if constexpr (kSamplesFirst) {
                    gradients_->set_node(b, w, rounded);
                } else {
                    set_sample(b, rounded);
                }
            }
        });
    }

    const HingeProblem<T>& problem_;
    const HingeOperands<T>& o_;
    const Vector<T>& offsets_;
    Index d_, n_a_, n_b_, n_panels_, n_groups_, entry_panels_, entry_groups_, n_tasks_, tile_panels_, block_;
    const Vector<T>* weights_ = nullptr;
    const HingeGradients<T>* gradients_ = nullptr;
    Scratch<T> scores_b_{0, 0}, entries_b_{0, 0};
    Vector<T> offset_b_;
    std::vector<SampleSums> sums_;
};

}  // namespace fastcca
