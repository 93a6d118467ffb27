// The micro-tile of the sweep over the scores of the hinge loss: kPanel × kTile sums in registers, and how
// the vectors of both sides are packed for it.
#pragma once

#include <Eigen/Core>
#include <algorithm>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/base/types.hpp"
#include "fastcca/base/unrolled.hpp"
#include "fastcca/linalg/transpose.hpp"

namespace fastcca {

template <typename T>
struct SweepTile {
    using Packet = PacketOf<T>;
    static constexpr Index kLanes = kPacketLanes<Packet>;
    // kVectors × kTile sums, kVectors loads and a broadcast must fit in the registers.
    static constexpr int kTile = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 8 : 4;
    static constexpr int kVectors = 3;
    static constexpr Index kPanel = kVectors * kLanes;

    static Index panels(Index n) { return (n + kPanel - 1) / kPanel; }
    static Index groups(Index n) { return (n + kTile - 1) / kTile; }

    // out(i, j) = start(i, j) + Σ_k left(k, i) right(k, j), the first `vectors` of kVectors: panels of
    // kPanel, groups of kTile.
    template <typename Start, typename End>
    static void product(Index vectors, const T* left, const T* right, Index depth, const Start& start,
                        const End& end) {
        unrolled<kVectors>([&](auto v) {
            if (vectors == v + 1) micro<v + 1>(left, right, depth, start, end);
        });
    }

    // The same, added to sums of kTile columns of kPanel.
    static void add_product(Index vectors, const T* left, const T* right, Index depth, T* sums) {
        product(
            vectors, left, right, depth, [](Index, Index) { return packets::pset1<Packet>(T(0)); },
            [sums](Index j, Index v, const Packet& sum) {
                T* to = sums + j * kPanel + v * kLanes;
                packets::pstore(to, packets::padd(packets::pload<Packet>(to), sum));
            });
    }

 private:
    template <int V, typename Start, typename End>
    static EIGEN_DONT_INLINE void micro(const T* left, const T* right, Index depth, const Start& start,
                                        const End& end) {
        using namespace packets;
        Packet sum[kTile * V];
        unrolled<kTile * V>([&](auto i) { sum[i] = start(i / V, i % V); });
        for (Index k = 0; k < depth; ++k, left += kPanel, right += kTile) {
            Packet a[V];
            unrolled<V>([&](auto v) { a[v] = pload<Packet>(left + v * kLanes); });
            unrolled<kTile>([&](auto j) {
                const Packet b = pset1<Packet>(right[j]);
                unrolled<V>([&](auto v) { sum[j * V + v] = pmadd(a[v], b, sum[j * V + v]); });
            });
        }
        unrolled<kTile * V>([&](auto i) { end(i / V, i % V, sum[i]); });
    }
};

// Columns [first, first + count) of X (d × n) as panels of kPanel columns: [panel][entry][column], padded
// with zeros; `scale` (nullptr: ones) multiplies each column.
template <typename T>
void pack_panels(const Scratch<T>& X, Index first, Index count, Index width, T* out) {
    const Index d = X.rows();
    for (Index start = 0; start < count; start += width, out += width * d) {
        const Index used = std::min(width, count - start);
        if (used < width) std::fill(out, out + width * d, T(0));
        transpose(X.data() + (first + start) * d, d, d, used, out, width);
    }
}

// The same columns by entries: parts of `width` entries, `part_size` apart, each [column][entry]; columns up
// to `padded` are zeros.
template <typename T>
void pack_entries(const Scratch<T>& X, Index first, Index count, Index padded, Index width, const T* scale,
                  Index part_size, T* out) {
    const Index d = X.rows();
    for (Index start = 0; start < d; start += width, out += part_size) {
        const Index used = std::min(width, d - start);
        if (used < width || count < padded) std::fill(out, out + padded * width, T(0));
        for (Index c = 0; c < count; ++c) {
            T* to = out + c * width;
            const T* x = X.data() + (first + c) * d + start;
            const T w = scale ? scale[first + c] : T(1);
            for (Index k = 0; k < used; ++k) to[k] = w * x[k];
        }
    }
}

}  // namespace fastcca
