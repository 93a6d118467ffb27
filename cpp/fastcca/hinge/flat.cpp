#include <algorithm>
#include <cmath>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/pair.hpp"
#include "fastcca/hinge/parts.hpp"
#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/packed_product.hpp"

namespace fastcca {
namespace {

// Samples whose scores of all nodes are held at once: the more, the less the sums over samples cost, as long
// as they stay in the cache of a core.
constexpr Index kRows = 64;
constexpr Index kManyRows = 128;
constexpr Index kFewNodes = 2048;
constexpr Index kMostTasks = 8;

// The softmax of pair_loss for all other nodes at once: e_c = slope (q_c − q_y), whose largest is at least
// e_y = 0; W_c = weight exp(e_c) / Σ exp(e), and W_y such that they sum to 0.
template <typename T>
HingeValue softmax(T slope, Index y, double weight, Eigen::Ref<Vector<T>> q, Eigen::Ref<Vector<T>> W) {
    HingeValue out;
    q = slope * (q.array() - q[y]);
    out.violations = (q.array() > T(0)).count();
    const T largest = q.maxCoeff();
    W = (q.array() - largest).exp();
    // Short sums in T, these in double.
    double sum = 0;
    for (Index c = 0; c < W.size(); c += 128)
        sum += static_cast<double>(W.segment(c, std::min<Index>(128, W.size() - c)).sum());
    out.value = static_cast<double>(largest) + std::log(sum);
    W *= static_cast<T>(weight / sum);
    W[y] -= static_cast<T>(weight);
    return out;
}

}  // namespace

template <typename T>
HingeValue flat_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& o,
                      const HingeGradients<T>& gradients) {
    const Index n = problem.Z.rows, n_nodes = problem.U.rows, d = problem.Z.cols;
    const Index at_once = n_nodes <= kFewNodes && n >= kManyRows * kMostTasks ? kManyRows : kRows;
    const Index n_blocks = (n + at_once - 1) / at_once, n_tasks = std::min(n_blocks, kMostTasks);
    using Packed = PackedMatrix<T>;
    const Packed across(o.U, Op::kTranspose), along(o.U);
    struct Part {
        Matrix<T> Q;
        Vector<double> w;
        HingeValue total;
    };
    std::vector<Part> parts(static_cast<std::size_t>(n_tasks));
    parallel_for(n_tasks, [&](Index task) {
        Part& part = parts[static_cast<std::size_t>(task)];
        if (gradients.wanted()) {
            part.Q.setZero(d, n_nodes);
            part.w.setZero(n_nodes);
        }
        Matrix<T> q(n_nodes, at_once), W(n_nodes, at_once), P(d, at_once);
        Scratch<T> packed(Packed::packed_size(std::max(d, n_nodes), at_once), 1);
        for (Index block = n_blocks * task / n_tasks; block < n_blocks * (task + 1) / n_tasks; ++block) {
            poll();
            const Index start = block * at_once, rows = std::min(at_once, n - start);
            auto scores = q.leftCols(rows);
            Packed::pack(o.Z.middleCols(start, rows), packed.data());
            across.times(packed.data(), scores);
            scores.colwise() += o.bias;
            W.leftCols(rows).setZero();
            for (Index r = 0; r < rows; ++r) {
                const Index i = start + r, y = problem.y[i];
                const double weight = sample_weight(problem, i);
                if (problem.loss == HingeLoss::kSoftmax) {
                    const HingeValue loss = softmax<T>(o.slope, y, weight, q.col(r), W.col(r));
                    part.total.value += weight * loss.value;
                    part.total.violations += loss.violations;
                    continue;
                }
                const HingeValue loss = pair_loss(
                    problem.loss, y, n_nodes - 1,
                    [&](Index c) { return static_cast<double>(o.slope) * static_cast<double>(q(c, r)); },
                    [&](Index k) { return k < y ? k : k + 1; },
                    [&](Index c) {
                        return problem.costs.data ? static_cast<double>(problem.costs(y, c)) : problem.margin;
                    },
                    hinge_draws(problem.seed, i, 0),
                    [&](Index c, double w) { W(c, r) += static_cast<T>(weight * w); });
                part.total.value += weight * loss.value;
                part.total.violations += loss.violations;
            }
            if (!gradients.wanted()) continue;
            const auto weights = W.leftCols(rows);
            auto product = P.leftCols(rows);
            Packed::pack(weights, packed.data());
            along.times(packed.data(), product);
            for (Index r = 0; r < rows; ++r) gradients.set_sample(start + r, product.col(r));
            serial_gemm<T>(1, o.Z.middleCols(start, rows), Op::kNone, weights, Op::kTranspose, 1, part.Q);
            part.w += weights.template cast<double>().rowwise().sum();
        }
    });
    HingeValue total;
    for (const Part& part : parts) {
        total.value += part.total.value;
        total.violations += part.total.violations;
    }
    if (!gradients.wanted()) return total;
    parallel_for((n_nodes + kRows - 1) / kRows, [&](Index block) {
        Vector<double> column(d);
        for (Index c = block * kRows; c < std::min(n_nodes, (block + 1) * kRows); ++c) {
            column.setZero();
            double w = 0;
            for (const Part& part : parts) {
                column += part.Q.col(c).template cast<double>();
                w += part.w[c];
            }
            Vector<T> Q = column.template cast<T>();
            gradients.set_node(c, w, Q);
        }
    });
    return total;
}

#define FASTCCA_INSTANTIATE(T)                                                         \
    template HingeValue flat_hinge<T>(const HingeProblem<T>&, const HingeOperands<T>&, \
                                      const HingeGradients<T>&);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE

}  // namespace fastcca
