// The symmetric product A'A of a tall matrix given in packed panels, at the speed of the multiply-add units.
//
// A chunk of `depth` rows of a matrix with d columns is packed into panels of kPanel columns:
//     panel p, row k, column c  ->  packed[(p * depth + k) * kPanel + c]
// One packed copy serves both factors of the product, because the micro-tile's width kTile divides kPanel:
// its right factor is a stripe of kTile columns inside a panel.
//
// The product's lower triangle is accumulated, in double, panel by panel in the same manner:
//     entry (i, j), i in panel p, j < (p + 1) * kPanel
//     ->  product[kPanel² p (p + 1) / 2 + j * kPanel + (i - p * kPanel)]
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <type_traits>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/types.hpp"
#include "fastcca/base/unrolled.hpp"

namespace fastcca {

template <typename T>
struct SymmetricProduct {
    using Packet = PacketOf<T>;
    static constexpr int kLanes = kPacketLanes<Packet>;
    // kVectors × kTile accumulators, kVectors loads and a broadcast must fit in the registers, of which there
    // are 16 or 32. Arm has many of two doubles or four floats.
    static constexpr bool kManyRegisters = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32;
    static constexpr int kTile = kManyRegisters && kLanes >= 8 ? 8 : 4;
    static constexpr int kVectors = kLanes == 1                     ? kTile
                                    : kManyRegisters && kLanes <= 4 ? 6
                                    : 3 * kLanes % kTile == 0       ? 3
                                                                    : 2;
    static constexpr int kPanel = kVectors * kLanes;
    static constexpr int kLineDoubles = 8;  // of a cache line
    static_assert(kPanel % kTile == 0, "the right factor of a micro-tile lies inside one panel");

    static Index panels(Index columns) { return (columns + kPanel - 1) / kPanel; }
    static Index packed_size(Index columns, Index depth) { return panels(columns) * kPanel * depth; }
    static Index panel_start(Index panel) { return Index{kPanel} * kPanel * panel * (panel + 1) / 2; }
    static Index tiles(Index columns) {  // of the whole product, more or less
        const Index p = panels(columns);
        return p * (p + 1) / 2 * (kPanel / kTile);
    }
    static Index product_size(Index columns) { return panel_start(panels(columns)); }
    static Index position(Index i, Index j) {  // of entry (i, j), i >= j, in the product
        const Index panel = i / kPanel;
        return panel_start(panel) + j * kPanel + (i - panel * kPanel);
    }

    // product(panel, :) += packed(panel)' packed(0 … panel), for a matrix with this many columns;
    // `meanwhile` is called before each tile.
    template <typename Meanwhile>
    static void add_panel(const T* packed, Index columns, Index depth, Index panel, double* product,
                          Meanwhile&& meanwhile) {
        add_block(packed, columns, depth, panel, 0, panel + 1, product, meanwhile);
    }

    // The same for packed(first … last - 1) as right factors, last <= panel + 1.
    template <typename Meanwhile>
    static void add_block(const T* packed, Index columns, Index depth, Index panel, Index first, Index last,
                          double* product, Meanwhile&& meanwhile) {
        const T* left = packed + panel * depth * kPanel;
        double* out = product + panel_start(panel) + first * kPanel * kPanel;
        // The last panel may be padding for the most part: only its vectors that hold columns are multiplied.
        const Index width = std::min<Index>(kPanel, columns - panel * kPanel);
        const int used = static_cast<int>((width + kLanes - 1) / kLanes);
        for (Index p = first; p < std::min(last, panel); ++p) {
            const T* right = packed + p * depth * kPanel;
            for (int j = 0; j < kPanel; j += kTile, out += kTile * kPanel) {
                meanwhile();
                tile(0, used, left, right + j, depth, out);
            }
        }
        if (last <= panel) return;
        // Diagonal block: of the vectors of rows, those wholly above column j are never read.
        for (int j = 0; j < width; j += kTile, out += kTile * kPanel) {
            meanwhile();
            tile(j / kLanes, used, left, left + j, depth, out);
        }
    }

 private:
    // The rows of vectors [first, last) of a tile.
    static void tile(int first, int last, const T* left, const T* right, Index depth, double* out) {
        unrolled<kVectors>([&](auto v) {
            if (last - first == v + 1)
                micro_tile<v + 1>(left + first * kLanes, right, depth, out + first * kLanes);
        });
    }

    // out(i, j) += sum_k left(k, i) right(k, j), for V vectors of rows i and kTile columns j
    template <int V>
    static EIGEN_DONT_INLINE void micro_tile(const T* left, const T* right, Index depth, double* out) {
        using namespace packets;
        Packet sum[kTile * V];
        unrolled<kTile * V>([&](auto i) { sum[i] = pset1<Packet>(T(0)); });
        // Its entries of the product, which of a wide one lie far away, come while the sums are computed.
        for (int j = 0; j < kTile; ++j)
            for (int i = 0; i < V * kLanes; i += kLineDoubles) __builtin_prefetch(out + j * kPanel + i, 1);
        for (Index k = 0; k < depth; ++k, left += kPanel, right += kPanel) {
            Packet a[V];
            unrolled<V>([&](auto v) { a[v] = pload<Packet>(left + v * kLanes); });
            unrolled<kTile>([&](auto j) {
                const Packet b = pset1<Packet>(right[j]);
                unrolled<V>([&](auto v) { sum[j * V + v] = pmadd(a[v], b, sum[j * V + v]); });
            });
        }
        if constexpr (std::is_same_v<T, double>) {
            unrolled<kTile * V>([&](auto i) {
                double* to = out + i / V * kPanel + i % V * kLanes;
                pstore(to, padd(pload<Packet>(to), sum[i]));
            });
        } else {
            alignas(64) T lane[kTile][V * kLanes];
            unrolled<kTile * V>([&](auto i) { pstore(lane[i / V] + i % V * kLanes, sum[i]); });
            for (int j = 0; j < kTile; ++j)
                for (int i = 0; i < V * kLanes; ++i) out[j * kPanel + i] += static_cast<double>(lane[j][i]);
        }
    }
};

}  // namespace fastcca
