#include <algorithm>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/losses/hinge_pair.hpp"
#include "fastcca/losses/hinge_parts.hpp"

namespace fastcca {
namespace {

constexpr Index kRows = 64;
constexpr Index kMostTasks = 8;

}  // namespace

template <typename T>
void flat_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& o, HingeSums<T>& sums) {
    const Index n = problem.Z.rows, n_nodes = problem.U.rows, d = problem.Z.cols;
    const Index n_blocks = (n + kRows - 1) / kRows, n_tasks = std::min(n_blocks, kMostTasks);
    struct Part {
        Matrix<T> Q;
        Vector<double> w;
        HingeValue total;
    };
    std::vector<Part> parts(static_cast<std::size_t>(n_tasks));
    parallel_for(n_tasks, [&](Index task) {
        Part& part = parts[static_cast<std::size_t>(task)];
        if (sums.gradient()) {
            part.Q.setZero(d, n_nodes);
            part.w.setZero(n_nodes);
        }
        Matrix<T> q(n_nodes, kRows), W(n_nodes, kRows), P(d, kRows);
        for (Index block = n_blocks * task / n_tasks; block < n_blocks * (task + 1) / n_tasks; ++block) {
            poll();
            const Index start = block * kRows, rows = std::min(kRows, n - start);
            auto scores = q.leftCols(rows);
            scores.noalias() = o.U.transpose() * o.Z.middleCols(start, rows);
            scores.colwise() += o.bias;
            W.leftCols(rows).setZero();
            for (Index r = 0; r < rows; ++r) {
                const Index i = start + r, y = problem.y[i];
                const double weight = sample_weight(problem, i);
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
            if (!sums.gradient()) continue;
            const auto weights = W.leftCols(rows);
            // Eigen's small products round by the alignment of their result: not into the caller's memory.
            auto product = P.leftCols(rows);
            product.noalias() = o.U * weights;
            Eigen::Map<Matrix<T>>(sums.P + start * d, d, rows) = product;
            part.Q.noalias() += o.Z.middleCols(start, rows) * weights.transpose();
            part.w += weights.template cast<double>().rowwise().sum();
        }
    });
    for (const Part& part : parts) {
        sums.total.value += part.total.value;
        sums.total.violations += part.total.violations;
        if (!sums.gradient()) continue;
        sums.Q += part.Q.template cast<double>();
        sums.w += part.w;
    }
}

template void flat_hinge<float>(const HingeProblem<float>&, const HingeOperands<float>&, HingeSums<float>&);
template void flat_hinge<double>(const HingeProblem<double>&, const HingeOperands<double>&,
                                 HingeSums<double>&);

}  // namespace fastcca
