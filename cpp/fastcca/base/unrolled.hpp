// Loops that are gone before the compiler looks for what to keep in registers.
#pragma once

#include <Eigen/Core>
#include <type_traits>

namespace fastcca {

// body(0), …, body(N − 1), each index a constant of its own type.
template <int N, typename Body>
EIGEN_ALWAYS_INLINE void unrolled(const Body& body) {
    if constexpr (N > 0) {
        unrolled<N - 1>(body);
        body(std::integral_constant<int, N - 1>{});
    }
}

}  // namespace fastcca
