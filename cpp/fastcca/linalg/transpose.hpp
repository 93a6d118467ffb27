// Transposes by square blocks of packets: several times as fast as entry by entry.
#pragma once

#include <Eigen/Core>
#include <type_traits>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/types.hpp"

namespace fastcca {

// to(c, r) ← from(r, c) for column-major matrices with the given number of entries from one column to the
// next.
template <typename T, typename Packet = PacketOf<T>>
void transpose(const T* from, Index from_stride, Index rows, Index cols, T* to, Index to_stride) {
    constexpr int kLanes = kPacketLanes<Packet>;
    const Index whole_rows = rows / kLanes * kLanes, whole_cols = cols / kLanes * kLanes;
    for (Index c = 0; c < whole_cols; c += kLanes)
        for (Index r = 0; r < whole_rows; r += kLanes) {
            packets::PacketBlock<Packet, kLanes> block;
            for (int i = 0; i < kLanes; ++i)
                block.packet[i] = packets::ploadu<Packet>(from + (c + i) * from_stride + r);
            packets::ptranspose(block);
            for (int i = 0; i < kLanes; ++i) packets::pstoreu(to + (r + i) * to_stride + c, block.packet[i]);
        }
    // The rows and then the columns that are left: by narrower packets, at last by entries.
    const auto rest = [&](Index r, Index n_rows, Index c, Index n_cols) {
        const T* source = from + c * from_stride + r;
        T* target = to + r * to_stride + c;
        using Half = HalfOf<Packet>;
        if constexpr (!std::is_same_v<Half, Packet> && !std::is_same_v<Half, T>) {
            transpose<T, Half>(source, from_stride, n_rows, n_cols, target, to_stride);
        } else {
            for (Index j = 0; j < n_cols; ++j)
                for (Index i = 0; i < n_rows; ++i) target[i * to_stride + j] = source[j * from_stride + i];
        }
    };
    rest(whole_rows, rows - whole_rows, 0, whole_cols);
    rest(0, rows, whole_cols, cols - whole_cols);
}

}  // namespace fastcca
