// Transposes by square blocks of packets: several times as fast as entry by entry.
#pragma once

#include <Eigen/Core>

#include "fastcca/base/types.hpp"

namespace fastcca {

// to(c, r) ← from(r, c) for column-major matrices with so many entries from one column to the next.
template <typename T>
void transpose(const T* from, Index from_stride, Index rows, Index cols, T* to, Index to_stride) {
    using Packet = typename Eigen::internal::packet_traits<T>::type;
    constexpr int kLanes = Eigen::internal::unpacket_traits<Packet>::size;
    const Index whole_rows = rows / kLanes * kLanes, whole_cols = cols / kLanes * kLanes;
    for (Index c = 0; c < whole_cols; c += kLanes)
        for (Index r = 0; r < whole_rows; r += kLanes) {
            Eigen::internal::PacketBlock<Packet, kLanes> block;
            for (int i = 0; i < kLanes; ++i)
                block.packet[i] = Eigen::internal::ploadu<Packet>(from + (c + i) * from_stride + r);
            Eigen::internal::ptranspose(block);
            for (int i = 0; i < kLanes; ++i)
                Eigen::internal::pstoreu(to + (r + i) * to_stride + c, block.packet[i]);
        }
    for (Index c = 0; c < cols; ++c)
        for (Index r = c < whole_cols ? whole_rows : 0; r < rows; ++r)
            to[r * to_stride + c] = from[c * from_stride + r];
}

}  // namespace fastcca
