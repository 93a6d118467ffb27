// A small generator of our own, for start vectors: the same numbers on every platform and in every run.
#pragma once

#include <cstdint>

#include "fastcca/base/types.hpp"

namespace fastcca {

// Entries uniform in (-1, 1), a function of the shape and the seed alone.
inline Matrix<double> random_uniform(Index rows, Index cols, std::uint64_t seed = 0) {
    std::uint64_t state = seed;
    Matrix<double> result(rows, cols);
    for (Index i = 0; i < result.size(); ++i) {
        // SplitMix64 (Steele, Lea and Flood, 2014): a counter and a mixing function.
        state += 0x9E3779B97F4A7C15u;
        std::uint64_t z = state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        result.data()[i] = (static_cast<double>(z >> 11) + 0.5) * 0x1p-52 - 1.0;
    }
    return result;
}

}  // namespace fastcca
