// The hinge loss with its gradients, 6 B d C flops counted.
#include <benchmark/benchmark.h>

#include <tuple>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/hinge.hpp"
#include "fastcca/linalg/random.hpp"

namespace {

using fastcca::HingeLoss;
using fastcca::Index;
using fastcca::Matrix;

template <typename T, HingeLoss kLoss>
void hinge_loss(benchmark::State& state) {
    const Index n = state.range(0), d = state.range(1), n_nodes = state.range(2);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(3)));
    // Samples as columns: the memory of a row-major view. About half of the margins are violated.
    const Matrix<T> Z = fastcca::random_uniform(d, n, 1).cast<T>();
    const Matrix<T> U = fastcca::random_uniform(d, n_nodes, 2).cast<T>();
    std::vector<Index> y;
    for (Index i = 0; i < n; ++i) y.push_back((i * 7) % n_nodes);
    fastcca::HingeProblem<T> problem;
    problem.Z = {Z.data(), n, d, d, 1};
    problem.U = {U.data(), n_nodes, d, d, 1};
    problem.y = y.data();
    problem.loss = kLoss;
    Matrix<T> GZ(d, n), GU(d, n_nodes);
    const fastcca::HingeValue value = fastcca::hinge_loss(problem, GZ.data(), GU.data());
    // The loss does not change when the whole is moved: the gradients sum to 0.
    if (!((GZ.rowwise().sum() + GU.rowwise().sum()).norm() < 1e-3 * GU.norm()) || value.violations == 0)
        return state.SkipWithError("the gradients do not sum to zero");
    for (auto _ : state) {
        benchmark::DoNotOptimize(fastcca::hinge_loss(problem, GZ.data(), GU.data()).value);
    }
    state.counters["flops"] = benchmark::Counter(
        6.0 * static_cast<double>(n) * static_cast<double>(d) * static_cast<double>(n_nodes),
        benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2})
        for (const auto& [n, d, c] : {std::tuple{256, 100, 50}, {1024, 256, 1000}, {1024, 300, 20000}})
            b->Args({n, d, c, threads});
    b->ArgNames({"B", "d", "C", "threads"})->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK(hinge_loss<float, HingeLoss::kSum>)->Apply(sizes);
BENCHMARK(hinge_loss<double, HingeLoss::kSum>)->Apply(sizes);
BENCHMARK(hinge_loss<float, HingeLoss::kRank>)->Apply(sizes);
BENCHMARK(hinge_loss<float, HingeLoss::kSoftmax>)->Args({1500, 100, 50, 2})->UseRealTime();

}  // namespace
