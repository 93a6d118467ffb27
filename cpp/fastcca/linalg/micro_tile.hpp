// The innermost product: a tile of the result in registers, at the speed of the multiply-add units.
//
// The left factor is packed into panels of kRows rows, the right one into columns of kDepth entries:
//     panel p, column k, row i  ->  left[(p * depth + k) * kRows + i]
//     row k, column j           ->  right[j * kDepth + k]
#pragma once

#include <Eigen/Core>
#include <algorithm>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/types.hpp"
#include "fastcca/base/unrolled.hpp"

namespace fastcca {

template <typename T>
struct MicroTile {
    using Packet = PacketOf<T>;
    static constexpr int kLanes = kPacketLanes<Packet>;
    // kVectors × kColumns accumulators, kVectors loads and a broadcast must fit in the registers.
    static constexpr int kColumns = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 8 : 4;
    static constexpr int kVectors = 3;
    static constexpr int kRows = kVectors * kLanes;
    // A panel stays in the first-level cache together with the columns of a tile.
    static constexpr Index kDepth = sizeof(T) == 4 ? 192 : 128;

    // out(i, j) ← alpha Σ_k left(i, k) right(k, j) + beta out(i, j) for `rows` rows of a panel and `columns`
    // columns of a tile; out lies column by column.
    static void run(T alpha, const T* left, const T* right, Index depth, T beta, T* out, Index stride,
                    Index rows, Index columns) {
        unrolled<kVectors>([&](auto v) {
            if ((rows + kLanes - 1) / kLanes == v + 1)
                vectors<v + 1>(alpha, left, right, depth, beta, out, stride, rows, columns);
        });
    }

 private:
    template <int V>
    static EIGEN_DONT_INLINE void vectors(T alpha, const T* left, const T* right, Index depth, T beta, T* out,
                                          Index stride, Index rows, Index columns) {
        using namespace packets;
        Packet sum[kColumns * V];
        unrolled<kColumns * V>([&](auto i) { sum[i] = pset1<Packet>(T(0)); });
        for (Index k = 0; k < depth; ++k, left += kRows, ++right) {
            Packet a[V];
            unrolled<V>([&](auto v) { a[v] = pload<Packet>(left + v * kLanes); });
            unrolled<kColumns>([&](auto j) {
                const Packet b = pset1<Packet>(right[j * kDepth]);
                unrolled<V>([&](auto v) { sum[j * V + v] = pmadd(a[v], b, sum[j * V + v]); });
            });
        }
        const Packet scale = pset1<Packet>(alpha);
        if (rows == V * kLanes && columns == kColumns) {
            const Packet old = pset1<Packet>(beta);
            unrolled<kColumns * V>([&](auto i) {
                T* to = out + i / V * stride + i % V * kLanes;
                const Packet product = pmul(scale, sum[i]);
                pstoreu(to, beta == T(0) ? product : pmadd(old, ploadu<Packet>(to), product));
            });
            return;
        }
        alignas(64) T entry[kColumns][V * kLanes];
        unrolled<kColumns * V>([&](auto i) { pstore(entry[i / V] + i % V * kLanes, pmul(scale, sum[i])); });
        for (Index j = 0; j < columns; ++j)
            for (Index i = 0; i < rows; ++i) {
                T& to = out[j * stride + i];
                to = beta == T(0) ? entry[j][i] : entry[j][i] + beta * to;
            }
    }
};

}  // namespace fastcca
