// The moments pass: n d² multiply-adds counted as n d² flops of a symmetric product (2 × half of d²).
#include <benchmark/benchmark.h>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/moments/moments.hpp"

namespace {

template <typename T>
void moments(benchmark::State& state) {
    using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const fastcca::Index n = state.range(0), d = state.range(1);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(2)));
    const RowMajor x = RowMajor::Random(n, d);
    const fastcca::MatrixView<T> view{x.data(), n, d, d, 1};
    for (auto _ : state) {
        fastcca::MomentsAccumulator<T> accumulator(d);
        accumulator.add({view});
        benchmark::DoNotOptimize(accumulator.finish().scatter.data());
    }
    state.counters["flops"] =
        benchmark::Counter(static_cast<double>(n * d * d), benchmark::Counter::kIsIterationInvariantRate,
                           benchmark::Counter::kIs1000);
}

void sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2})
        for (const auto& [n, d] : {std::pair{20000, 100}, {20000, 400}, {20000, 1000}, {20000, 2000}})
            b->Args({n, d, threads});
    b->ArgNames({"n", "d", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(moments<double>)->Apply(sizes);
BENCHMARK(moments<float>)->Apply(sizes);

}  // namespace
