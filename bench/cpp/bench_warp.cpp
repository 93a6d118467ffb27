// Steps of WARP.
#include <benchmark/benchmark.h>

#include <vector>

#include "fastcca/linalg/random.hpp"
#include "fastcca/warp/warp.hpp"

namespace {

using fastcca::Index;
using fastcca::Matrix;

void warp_epoch(benchmark::State& state) {
    const Index n = 1000, p = state.range(0), d = state.range(1), n_classes = state.range(2);
    const Matrix<float> X = fastcca::random_uniform(p, n, 1).cast<float>();
    Matrix<float> W = fastcca::random_uniform(p, d, 2).cast<float>();
    Matrix<float> V = fastcca::random_uniform(d, n_classes, 3).cast<float>();
    std::vector<Index> y, order;
    for (Index i = 0; i < n; ++i) {
        y.push_back((i * 7) % n_classes);
        order.push_back(i);
    }
    fastcca::WarpEpoch<float> epoch;
    epoch.X = {X.data(), n, p, p, 1};
    epoch.y = y.data();
    epoch.order = order.data();
    epoch.n_steps = n;
    epoch.n_classes = n_classes;
    epoch.width = d;
    epoch.learning_rate = 1e-3;
    epoch.max_norm = 1;
    for (auto _ : state) benchmark::DoNotOptimize(fastcca::warp_epoch(epoch, W.data(), V.data()).loss);
    state.counters["steps"] =
        benchmark::Counter(static_cast<double>(n), benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK(warp_epoch)->Args({300, 100, 50})->Args({300, 100, 10000})->Unit(benchmark::kMillisecond);

}  // namespace
