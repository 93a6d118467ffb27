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

#if defined(__GNUC__) && !defined(__clang__)
// Vector types are aligned more strictly than their template arguments say, which is of no consequence here.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif
    using Block = Eigen::internal::PacketBlock<Packet, kLanes>;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

    //     score(r, j) = bias(r) + Σ_c panel(c, r) tile(c, j)
    // Returns whether score(r, j) > threshold(j) for any of them, and then writes all of them to
    // scores[j * kPanel + r]. `panel`, `bias` and `scores` are aligned for packets.
    static bool exceeds(const T* panel, const T* tile, Index columns, const T* bias, const T* threshold,
                        T* scores) {
        using namespace Eigen::internal;
        Packet sum[kTile][kVectors];
        for (int v = 0; v < kVectors; ++v) {
            const Packet b = pload<Packet>(bias + v * kLanes);
            for (int j = 0; j < kTile; ++j) sum[j][v] = b;
        }
        for (Index c = 0; c < columns; ++c, panel += kPanel, tile += kTile) {
            Packet a[kVectors];
            for (int v = 0; v < kVectors; ++v) a[v] = pload<Packet>(panel + v * kLanes);
            for (int j = 0; j < kTile; ++j) {
                const Packet b = pset1<Packet>(tile[j]);
                for (int v = 0; v < kVectors; ++v) sum[j][v] = pmadd(a[v], b, sum[j][v]);
            }
        }
        // max over r, j of score(r, j) − threshold(j), whose sign is that of the comparison: the difference
        // of two different numbers does not round to zero.
        Packet excess = pset1<Packet>(T(0));
        for (int j = 0; j < kTile; ++j) {
            Packet best = sum[j][0];
            for (int v = 1; v < kVectors; ++v) best = pmax(best, sum[j][v]);
            excess = pmax(excess, psub(best, pset1<Packet>(threshold[j])));
        }
        if (!(predux_max(excess) > T(0))) return false;
        for (int j = 0; j < kTile; ++j)
            for (int v = 0; v < kVectors; ++v) pstore(scores + j * kPanel + v * kLanes, sum[j][v]);
        return true;
    }

    // Packs n ≤ kPanel rows whose columns are contiguous: out(c, r) = row r of `in`, column c. Blocks of
    // kLanes × kLanes are transposed in registers.
    static void pack_rows(const T* in, Index row_stride, Index n, Index columns, T* out) {
        using namespace Eigen::internal;
        for (Index r = 0; r < n; r += kLanes) {
            const T* rows = in + r * row_stride;
            Index c = 0;
            if (r + kLanes <= n)
                for (; c + kLanes <= columns; c += kLanes) {
                    Block block;
                    for (int i = 0; i < kLanes; ++i)
                        block.packet[i] = ploadu<Packet>(rows + i * row_stride + c);
                    ptranspose(block);
                    for (int i = 0; i < kLanes; ++i) pstore(out + (c + i) * kPanel + r, block.packet[i]);
                }
            const Index height = std::min<Index>(kLanes, n - r);
            for (; c < columns; ++c)
                for (Index i = 0; i < height; ++i) out[c * kPanel + r + i] = rows[i * row_stride + c];
        }
    }
};

}  // namespace fastcca
