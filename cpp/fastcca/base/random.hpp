// SplitMix64 (Steele, Lea and Flood, 2014): a counter and a mixing function. The same numbers on every
// platform.
#pragma once

#include <cstdint>

namespace fastcca {

constexpr std::uint64_t kSplitMixStep = 0x9E3779B97F4A7C15u;

constexpr std::uint64_t split_mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// Uniform numbers in [0, 1), of 53 bits, as a function of (seed, counter): in any order of asking.
class CounterRandom {
 public:
    explicit CounterRandom(std::uint64_t seed) : key_(split_mix(seed + kSplitMixStep)) {}

    double operator()(std::uint64_t counter) const {
        return static_cast<double>(split_mix(key_ + kSplitMixStep * (counter + 1)) >> 11) * 0x1p-53;
    }
    double next() { return (*this)(counter_++); }

 private:
    std::uint64_t key_;
    std::uint64_t counter_ = 0;
};

}  // namespace fastcca
