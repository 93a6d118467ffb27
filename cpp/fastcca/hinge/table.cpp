#include <algorithm>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/pair.hpp"
#include "fastcca/hinge/parts.hpp"
#include "fastcca/linalg/dense.hpp"

// Samples of one class share their nodes: they are gathered, as columns, beside the nodes that the class's
// pairs name, and what remains is a dense problem of that size.

namespace fastcca {
namespace {

constexpr Index kGroupRows = 256;
// Gradients of nodes kept until they are added in order, in numbers.
constexpr Index kHeld = Index{1} << 23;

// Some samples of one class.
struct Group {
    Index label;
    const Index* samples;
    Index count;
};

std::vector<Group> groups_of(const SamplesByClass& samples, Index n_classes) {
    std::vector<Group> groups;
    for (Index c = 0; c < n_classes; ++c)
        for (Index first = 0; first < samples.count(c); first += kGroupRows)
            groups.push_back({c, samples.begin(c) + first, std::min(kGroupRows, samples.count(c) - first)});
    return groups;
}

// All nodes that the pairs of a class name, in ascending order.
std::vector<Index> nodes_of(const ConstraintTable& table, Index label) {
    const Index first = table.class_start[label], last = table.class_start[label + 1];
    std::vector<Index> nodes(table.positives + first, table.positives + last);
    nodes.insert(nodes.end(), table.negatives + table.negative_start[first],
                 table.negatives + table.negative_start[last]);
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    return nodes;
}

template <typename T>
struct GroupResult {
    std::vector<Index> nodes;
    Matrix<T> Q;       // d × nodes
    Vector<double> w;  // nodes
    HingeValue total;
};

template <typename T>
GroupResult<T> group_loss(const HingeProblem<T>& problem, const HingeOperands<T>& o, const Group& group,
                          const HingeGradients<T>& gradients) {
    const ConstraintTable& table = *problem.table;
    const Index d = problem.Z.cols, label = group.label;
    GroupResult<T> out;
    out.nodes = nodes_of(table, label);
    const auto n_nodes = static_cast<Index>(out.nodes.size());
    Matrix<T> Z(d, group.count), U(d, n_nodes), q(n_nodes, group.count);
    for (Index r = 0; r < group.count; ++r) Z.col(r) = o.Z.col(group.samples[r]);
    for (Index k = 0; k < n_nodes; ++k) U.col(k) = o.U.col(out.nodes[static_cast<std::size_t>(k)]);
    serial_gemm<T>(1, U, Op::kTranspose, Z, Op::kNone, 0, q);
    for (Index k = 0; k < n_nodes; ++k) q.row(k).array() += o.bias[out.nodes[static_cast<std::size_t>(k)]];

    const auto place = [&](Index node) {
        return static_cast<Index>(std::lower_bound(out.nodes.begin(), out.nodes.end(), node) -
                                  out.nodes.begin());
    };
    const auto margin = [&](Index k) {
        return problem.costs.data
                   ? static_cast<double>(problem.costs(label, out.nodes[static_cast<std::size_t>(k)]))
                   : problem.margin;
    };
    Matrix<T> W = Matrix<T>::Zero(n_nodes, group.count);
    std::vector<Index> negatives;
    for (Index j = table.class_start[label]; j < table.class_start[label + 1]; ++j) {
        const Index positive = place(table.positives[j]);
        negatives.clear();
        for (Index k = table.negative_start[j]; k < table.negative_start[j + 1]; ++k)
            negatives.push_back(place(table.negatives[k]));
        for (Index r = 0; r < group.count; ++r) {
            const Index i = group.samples[r];
            const double weight = sample_weight(problem, i);
            const HingeValue loss = pair_loss(
                problem.loss, positive, static_cast<Index>(negatives.size()),
                [&](Index k) { return static_cast<double>(o.slope) * static_cast<double>(q(k, r)); },
                [&](Index k) { return negatives[static_cast<std::size_t>(k)]; }, margin,
                hinge_draws(problem.seed, i, j - table.class_start[label]),
                [&](Index k, double w) { W(k, r) += static_cast<T>(weight * w); });
            out.total.value += weight * loss.value;
            out.total.violations += loss.violations;
        }
    }
    if (!gradients.wanted()) return out;
    q.resize(d, group.count);
    serial_gemm<T>(1, U, Op::kNone, W, Op::kNone, 0, q);
    for (Index r = 0; r < group.count; ++r) gradients.set_sample(group.samples[r], q.col(r));
    out.Q.resize(d, n_nodes);
    serial_gemm<T>(1, Z, Op::kNone, W, Op::kTranspose, 0, out.Q);
    out.w = W.template cast<double>().rowwise().sum();
    return out;
}

}  // namespace

template <typename T>
HingeValue table_hinge(const HingeProblem<T>& problem, const HingeOperands<T>& operands,
                       const HingeGradients<T>& gradients) {
    const ConstraintTable& table = *problem.table;
    const SamplesByClass samples(problem.y, problem.Z.rows, table.n_classes);
    const std::vector<Group> groups = groups_of(samples, table.n_classes);
    const auto size = [&](const Group& g) {
        const Index first = table.class_start[g.label], last = table.class_start[g.label + 1];
        return problem.Z.cols * (last - first + table.negative_start[last] - table.negative_start[first]);
    };
    HingeValue total;
    Matrix<double> Q;
    Vector<double> w = Vector<double>::Zero(problem.U.rows);
    if (gradients.wanted()) Q.setZero(problem.Z.cols, problem.U.rows);
    // As many groups at once as may be held, and their gradients added in order.
    for (std::size_t start = 0, end = 0; start < groups.size(); start = end) {
        for (Index held = 0; end < groups.size() && (end == start || held < kHeld); ++end)
            held += size(groups[end]);
        std::vector<GroupResult<T>> results(end - start);
        parallel_for(static_cast<Index>(end - start), [&](Index g) {
            const auto at = static_cast<std::size_t>(g);
            results[at] = group_loss(problem, operands, groups[start + at], gradients);
        });
        for (const GroupResult<T>& result : results) {
            total.value += result.total.value;
            total.violations += result.total.violations;
            if (!gradients.wanted()) continue;
            for (std::size_t k = 0; k < result.nodes.size(); ++k) {
                Q.col(result.nodes[k]) += result.Q.col(static_cast<Index>(k)).template cast<double>();
                w[result.nodes[k]] += result.w[static_cast<Index>(k)];
            }
        }
    }
    if (gradients.wanted())
        for (Index c = 0; c < Q.cols(); ++c) {
            Vector<T> column = Q.col(c).template cast<T>();
            gradients.set_node(c, w[c], column);
        }
    return total;
}

#define FASTCCA_INSTANTIATE(T)                                                          \
    template HingeValue table_hinge<T>(const HingeProblem<T>&, const HingeOperands<T>&, \
                                       const HingeGradients<T>&);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE

}  // namespace fastcca
