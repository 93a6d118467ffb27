// Scores of a panel of gallery rows against a tile of queries, which never leave the registers unless one of
// them exceeds its query's threshold.
//
// A panel of kPanel gallery rows and a tile of kTile queries are packed with the column of the data
// outermost:
//     packed panel: row r, column c -> panel[c * kPanel + r]
//     packed tile: query j, column c -> tile[c * kTile + j]
#pragma once

#include <Eigen/Core>

#include <algorithm>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/types.hpp"
#include "fastcca/moments/symmetric_product.hpp"

namespace fastcca {

template <typename T>
struct ScoreTile {
    using Packet = typename SymmetricProduct<T>::Packet;
    static constexpr int kLanes = SymmetricProduct<T>::kLanes;
    static constexpr int kTile = SymmetricProduct<T>::kTile;
    static constexpr int kVectors = SymmetricProduct<T>::kVectors;
    static constexpr int kPanel = kVectors * kLanes;

    // This many columns of a panel stay in the first level of cache while all tiles of queries pass by.
    static constexpr Index kSlice = 24 * 1024 / (kPanel * static_cast<Index>(sizeof(T)));

    // The panel and the tile over some columns, from a start on:
    //     sum(r, j) = start[j * step + r] + Σ_c panel(c, r) tile(c, j)
    // step is kPanel where the sums over earlier columns go on, or 0 where all queries start from the same
    // values. `panel`, `start` and what is written are aligned for packets.
    struct Sums {
        Packet sum[kTile][kVectors];

        Sums(const T* panel, const T* tile, Index columns, const T* start, Index step) {
            using namespace packets;
            for (int j = 0; j < kTile; ++j)
                for (int v = 0; v < kVectors; ++v) sum[j][v] = pload<Packet>(start + j * step + v * kLanes);
            for (Index c = 0; c < columns; ++c, panel += kPanel, tile += kTile) {
                Packet a[kVectors];
                for (int v = 0; v < kVectors; ++v) a[v] = pload<Packet>(panel + v * kLanes);
                for (int j = 0; j < kTile; ++j) {
                    const Packet b = pset1<Packet>(tile[j]);
                    for (int v = 0; v < kVectors; ++v) sum[j][v] = pmadd(a[v], b, sum[j][v]);
                }
            }
        }

        // To out[j * kPanel + r].
        void store(T* out) const {
            for (int j = 0; j < kTile; ++j)
                for (int v = 0; v < kVectors; ++v) packets::pstore(out + j * kPanel + v * kLanes, sum[j][v]);
        }

        // Whether sum(r, j) > threshold(j) for any r and j: the sign of their largest difference, since the
        // difference of two different numbers does not round to zero.
        bool exceed(const T* threshold) const {
            using namespace packets;
            Packet excess = pset1<Packet>(T(0));
            for (int j = 0; j < kTile; ++j) {
                Packet best = sum[j][0];
                for (int v = 1; v < kVectors; ++v) best = pmax(best, sum[j][v]);
                excess = pmax(excess, psub(best, pset1<Packet>(threshold[j])));
            }
            return predux_max(excess) > T(0);
        }
    };
};

}  // namespace fastcca
