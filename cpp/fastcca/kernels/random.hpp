// Uniform numbers as a function of (seed, counter): the same on every platform, in any order of asking.
#pragma once

#include <cstdint>

namespace fastcca {

// In [0, 1), 53 bits: SplitMix64 (Steele, Lea and Flood, 2014) of the counter, keyed by the mixed seed.
class CounterRandom {
 public:
    explicit CounterRandom(std::uint64_t seed) : key_(mix(seed + kStep)) {}

    double operator()(std::uint64_t counter) const {
        return static_cast<double>(mix(key_ + kStep * (counter + 1)) >> 11) * 0x1p-53;
    }
    double next() { return (*this)(counter_++); }

 private:
    static constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15u;

    static std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }

    std::uint64_t key_;
    std::uint64_t counter_ = 0;
};

}  // namespace fastcca
