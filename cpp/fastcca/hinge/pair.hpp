// The loss of one sample and one pair (positive node, negative nodes), from the sample's scores.
#pragma once

#include <algorithm>
#include <cmath>

#include "fastcca/base/random.hpp"
#include "fastcca/hinge/hinge.hpp"

namespace fastcca {

// L(r) = 1 + 1/2 + … + 1/r
inline double harmonic(Index r) {
    double sum = 0;
    for (Index j = r; j >= 1; --j) sum += 1 / static_cast<double>(j);
    return sum;
}

// The draws of pair j of sample i: a stream of its own.
inline CounterRandom hinge_draws(std::uint64_t seed, Index i, Index j) {
    const std::uint64_t sample = split_mix(seed + kSplitMixStep * (static_cast<std::uint64_t>(i) + 1));
    return CounterRandom(sample + static_cast<std::uint64_t>(j));
}

// `score(c)` is D up to its sign and a term of the sample's: D(z, u_p) − D(z, u_c) = score(c) − score(p).
// negative(k), k < n: the negative nodes; margin(c): Δ; add(c, w): the gradient −dLoss/dD(z, u_c) grows by w.
template <typename Score, typename Negative, typename Margin, typename Add>
HingeValue pair_loss(HingeLoss loss, Index positive, Index n, const Score& score, const Negative& negative,
                     const Margin& margin, CounterRandom draws, const Add& add) {
    const double at = score(positive);
    const auto violation = [&](Index c) { return margin(c) + score(c) - at; };
    HingeValue out;
    switch (loss) {
        case HingeLoss::kSum:
        case HingeLoss::kRank: {
            for (Index k = 0; k < n; ++k) {
                const double v = violation(negative(k));
                if (!(v > 0)) continue;
                out.value += v;
                ++out.violations;
            }
            if (out.violations == 0) break;
            const double r = static_cast<double>(out.violations);
            const double weight = loss == HingeLoss::kSum ? 1 : harmonic(out.violations) / r;
            for (Index k = 0; k < n; ++k) {
                const Index c = negative(k);
                if (violation(c) > 0) add(c, weight);
            }
            add(positive, -weight * r);
            out.value *= weight;
            break;
        }
        case HingeLoss::kWorst: {
            Index worst = -1;
            for (Index k = 0; k < n; ++k) {
                const Index c = negative(k);
                const double v = violation(c);
                if (!(v > 0)) continue;
                ++out.violations;
                if (v <= out.value) continue;
                out.value = v;
                worst = c;
            }
            if (worst < 0) break;
            add(worst, 1);
            add(positive, -1);
            break;
        }
        case HingeLoss::kSemiHard: {
            Index farther = -1, nearer = -1;  // the hardest and the easiest of them
            double hard = 0, easy = 0;
            for (Index k = 0; k < n; ++k) {
                const Index c = negative(k);
                const double v = violation(c);
                if (v > 0) ++out.violations;
                if (score(c) < at) {
                    if (farther >= 0 && v <= hard) continue;
                    farther = c;
                    hard = v;
                } else if (nearer < 0 || v < easy) {
                    nearer = c;
                    easy = v;
                }
            }
            const Index chosen = farther >= 0 ? farther : nearer;
            const double v = farther >= 0 ? hard : easy;
            if (chosen < 0 || !(v > 0)) break;
            out.value = v;
            add(chosen, 1);
            add(positive, -1);
            break;
        }
        case HingeLoss::kSampled:
            for (Index t = 1; t <= n; ++t) {
                const double draw = draws(static_cast<std::uint64_t>(t - 1)) * static_cast<double>(n);
                const Index c = negative(std::min(n - 1, static_cast<Index>(draw)));
                const double v = violation(c);
                if (!(v > 0)) continue;
                const double weight = harmonic(n / t);
                out = {weight * v, 1};
                add(c, weight);
                add(positive, -weight);
                break;
            }
            break;
        case HingeLoss::kSoftmax: {
            // log Σ exp(e) of the exponents e_p = 0 and e_c, less the largest of them
            double largest = 0;
            for (Index k = 0; k < n; ++k) {
                const double e = score(negative(k)) - at;
                if (e > 0) ++out.violations;
                largest = std::max(largest, e);
            }
            double sum = std::exp(-largest);
            for (Index k = 0; k < n; ++k) sum += std::exp(score(negative(k)) - at - largest);
            out.value = largest + std::log(sum);
            double total = 0;
            for (Index k = 0; k < n; ++k) {
                const Index c = negative(k);
                const double weight = std::exp(score(c) - at - largest) / sum;
                add(c, weight);
                total += weight;
            }
            add(positive, -total);
            break;
        }
    }
    return out;
}

}  // namespace fastcca
