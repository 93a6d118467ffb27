// The vectors of the CPU level as Eigen has them: the one file that names what Eigen keeps to itself.
#pragma once

#include <Eigen/Core>

namespace fastcca {

// A register full of T, and how many it holds.
template <typename T>
using PacketOf = typename Eigen::internal::packet_traits<T>::type;
template <typename Packet>
constexpr int kPacketLanes = Eigen::internal::unpacket_traits<Packet>::size;
// The next narrower one, or the same where there is none.
template <typename Packet>
using HalfOf = typename Eigen::internal::unpacket_traits<Packet>::half;

namespace packets {

using Eigen::internal::pabs;
using Eigen::internal::PacketBlock;
using Eigen::internal::padd;
using Eigen::internal::pand;
using Eigen::internal::pandnot;
using Eigen::internal::pcmp_eq;
using Eigen::internal::pcmp_lt;
using Eigen::internal::pdiv;
using Eigen::internal::pexp;
using Eigen::internal::pload;
using Eigen::internal::ploadu;
using Eigen::internal::plog;
using Eigen::internal::pmadd;
using Eigen::internal::pmax;
using Eigen::internal::pmul;
using Eigen::internal::predux;
using Eigen::internal::predux_max;
using Eigen::internal::pselect;
using Eigen::internal::pset1;
using Eigen::internal::psqrt;
using Eigen::internal::pstore;
using Eigen::internal::pstoreu;
using Eigen::internal::psub;
using Eigen::internal::ptranspose;

}  // namespace packets
}  // namespace fastcca
