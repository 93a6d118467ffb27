// The contrastive losses with their gradients, 6 B² d flops counted (the softmax takes 8).
#include <benchmark/benchmark.h>

#include <cmath>
#include <tuple>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/contrastive/contrastive.hpp"
#include "fastcca/linalg/random.hpp"

namespace {

using fastcca::ContrastiveLoss;
using fastcca::Index;
using fastcca::Matrix;

template <typename T, ContrastiveLoss kLoss>
void contrastive_loss(benchmark::State& state) {
    const Index n = state.range(0), d = state.range(1);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(2)));
    const Matrix<double> a = fastcca::random_uniform(d, n, 1);
    const Matrix<T> A = a.cast<T>(), B = (a + 2 * fastcca::random_uniform(d, n, 2)).cast<T>();
    fastcca::ContrastiveProblem<T> problem;
    problem.A = {A.data(), n, d, d, 1};
    problem.B = {B.data(), n, d, d, 1};
    problem.a_weight = problem.b_weight = 0.5 / static_cast<double>(n);
    problem.scale = static_cast<double>(state.range(3));
    problem.loss = kLoss;
    Matrix<T> GA(d, n), GB(d, n);
    const auto value = fastcca::contrastive_loss(problem, GA.data(), GB.data());
    // A row's cosines do not change with its length: its gradient is orthogonal to it.
    const double along = static_cast<double>(GA.cwiseProduct(A).colwise().sum().norm());
    if (!std::isfinite(value.value) || along > 1e-4 * static_cast<double>(GA.norm() * A.norm()))
        return state.SkipWithError("the gradients are not orthogonal to the rows");
    for (auto _ : state) {
        benchmark::DoNotOptimize(fastcca::contrastive_loss(problem, GA.data(), GB.data()).value);
    }
    state.counters["flops"] =
        benchmark::Counter(6.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(d),
                           benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2})
        for (const auto& [n, d] : {std::tuple{256, 64}, {1024, 128}, {4096, 512}})
            for (const int scale : {14, 100}) b->Args({n, d, threads, scale});
    b->ArgNames({"B", "d", "threads", "scale"})->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK(contrastive_loss<float, ContrastiveLoss::kSoftmax>)->Apply(sizes);
BENCHMARK(contrastive_loss<double, ContrastiveLoss::kSoftmax>)->Apply(sizes);
BENCHMARK(contrastive_loss<float, ContrastiveLoss::kSigmoid>)->Apply(sizes);

}  // namespace
