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
HingeValue flat_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& o,
                      const HingeGradients<T>& gradients) {
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
        if (gradients.wanted()) {
            part.Q.setZero(d, n_nodes);
            part.w.setZero(n_nodes);
        }
        Matrix<T> q(n_nodes, kRows), W(n_nodes, kRows), P(d, kRows);
        Vector<double> column(d);
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
            if (!gradients.wanted()) continue;
            const auto weights = W.leftCols(rows);
            auto product = P.leftCols(rows);
            product.noalias() = o.U * weights;
            for (Index r = 0; r < rows; ++r) {
                column = product.col(r).template cast<double>();
                gradients.set_sample(start + r, column);
            }
            part.Q.noalias() += o.Z.middleCols(start, rows) * weights.transpose();
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
            gradients.set_node(c, w, column);
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
