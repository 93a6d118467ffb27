#include "fastcca/hinge/sweep.hpp"

#include <algorithm>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/pair.hpp"
#include "fastcca/hinge/parts.hpp"

namespace fastcca {
namespace {

// Samples in a task of the passes over them.
constexpr Index kSweepRows = 256;

// The samples' own nodes: Q_y −= ω n z, w_y −= ω n.
template <typename T>
void add_own_nodes(const HingeProblem<T>& problem, const HingeOperands<T>& o, const Vector<T>& weights,
                   const std::vector<SampleSums>& sums, const HingeGradients<T>& gradients) {
    const SamplesByClass samples(problem.y, problem.Z.rows, problem.U.rows);
    parallel_for((problem.U.rows + kSweepRows - 1) / kSweepRows, [&](Index block) {
        Vector<double> column(problem.Z.cols);
        Vector<T> rounded(problem.Z.cols);
        for (Index c = block * kSweepRows; c < std::min(problem.U.rows, (block + 1) * kSweepRows); ++c) {
            if (samples.count(c) == 0) continue;
            column.setZero();
            double total = 0;
            for (Index r = 0; r < samples.count(c); ++r) {
                const Index i = samples.begin(c)[r];
                const double w = static_cast<double>(weights[i]) * sums[static_cast<std::size_t>(i)].count;
                column -= w * o.Z.col(i).template cast<double>();
                total -= w;
            }
            rounded = column.template cast<T>();
            gradients.add_node(c, total, rounded);
        }
    });
}

// −q_y, and the margin's part
template <typename T>
Vector<T> sample_offsets(const HingeProblem<T>& problem, const HingeOperands<T>& o) {
    const Index n = problem.Z.rows;
    const T margin = problem.costs.data ? T(0) : static_cast<T>(problem.margin) / o.slope;
    Vector<T> offsets(n);
    parallel_for((n + kSweepRows - 1) / kSweepRows, [&](Index block) {
        for (Index i = block * kSweepRows; i < std::min(n, (block + 1) * kSweepRows); ++i)
            offsets[i] = margin - o.Z.col(i).dot(o.U.col(problem.y[i])) - o.bias[problem.y[i]];
    });
    return offsets;
}

template <typename T, bool kSamplesFirst>
HingeValue swept(const HingeProblem<T>& problem, const HingeOperands<T>& o,
                 const HingeGradients<T>& gradients) {
    const Index n = problem.Z.rows;
    const Vector<T> offsets = sample_offsets(problem, o);
    HingeSweep<T, kSamplesFirst> sweep(problem, o, offsets);
    Vector<double> weights(n);
    for (Index i = 0; i < n; ++i) weights[i] = sample_weight(problem, i);
    const HingeGradients<T>* wanted = gradients.wanted() ? &gradients : nullptr;
    std::vector<SampleSums> sums;
    const bool rank = problem.loss == HingeLoss::kRank;
    if (rank || !wanted) sums = sweep.run(weights.template cast<T>(), nullptr);
    if (rank) {
        for (Index i = 0; i < n; ++i) {
            const double r = sums[static_cast<std::size_t>(i)].count;
            if (r > 0) weights[i] *= harmonic(static_cast<Index>(r)) / r;
        }
    }
    if (wanted) {
        const Vector<T> rounded = weights.template cast<T>();
        sums = sweep.run(rounded, wanted);
        add_own_nodes(problem, o, rounded, sums, gradients);
    }
    HingeValue total;
    for (Index i = 0; i < n; ++i) {
        const SampleSums& sum = sums[static_cast<std::size_t>(i)];
        total.value += weights[i] * static_cast<double>(o.slope) * sum.value;
        total.violations += static_cast<Index>(sum.count);
    }
    return total;
}

}  // namespace

template <typename T>
HingeValue sweep_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& operands,
                       const HingeGradients<T>& gradients) {
    return problem.Z.rows > problem.U.rows ? swept<T, true>(problem, operands, gradients)
                                           : swept<T, false>(problem, operands, gradients);
}

#define FASTCCA_INSTANTIATE(T)                                                          \
    template HingeValue sweep_hinge<T>(const HingeProblem<T>&, const HingeOperands<T>&, \
                                       const HingeGradients<T>&);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE

}  // namespace fastcca
