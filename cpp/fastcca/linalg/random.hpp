// A small generator of our own, for start vectors: the same numbers on every platform and in every run.
#pragma once

#include <cstdint>

#include "fastcca/base/random.hpp"
#include "fastcca/base/types.hpp"

namespace fastcca {

// Entries uniform in (-1, 1), a function of the shape and the seed alone.
inline Matrix<double> random_uniform(Index rows, Index cols, std::uint64_t seed = 0) {
    std::uint64_t state = seed;
    Matrix<double> result(rows, cols);
    for (Index i = 0; i < result.size(); ++i) {
        state += kSplitMixStep;
        result.data()[i] = (static_cast<double>(split_mix(state) >> 11) + 0.5) * 0x1p-52 - 1.0;
    }
    return result;
}

}  // namespace fastcca
