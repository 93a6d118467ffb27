// The correlation loss with its gradients: 12 m d² flops are counted, the products with the data alone.
#include <benchmark/benchmark.h>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/correlation/contraction.hpp"
#include "fastcca/correlation/correlation.hpp"
#include "fastcca/linalg/random.hpp"

namespace {

using fastcca::Index;

template <typename T, fastcca::CorrelationObjective kObjective>
void correlation_loss(benchmark::State& state) {
    const Index d = state.range(0), m = state.range(1);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(2)));
    // Samples as columns: the memory of a row-major view.
    const fastcca::Matrix<double> Z = fastcca::random_uniform(d, m, 1);
    const fastcca::Matrix<T> A = (Z + fastcca::random_uniform(d, m, 2)).cast<T>();
    const fastcca::Matrix<T> B = (Z + fastcca::random_uniform(d, m, 3)).cast<T>();
    const fastcca::MatrixView<T> H1{A.data(), m, d, d, 1}, H2{B.data(), m, d, d, 1};
    fastcca::Matrix<T> G1(d, m), G2(d, m);
    for (auto _ : state) {
        benchmark::DoNotOptimize(
            fastcca::correlation_loss<T>(H1, H2, {d, 1e-4, 1e-4, kObjective, true}, G1.data(), G2.data()));
    }
    state.counters["flops"] =
        benchmark::Counter(12.0 * static_cast<double>(m) * static_cast<double>(d * d),
                           benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

template <typename S>
void contraction_polar(benchmark::State& state) {
    const Index d = state.range(0);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(1)));
    const fastcca::Matrix<double> A = fastcca::random_uniform(d, d, 1);
    const fastcca::Matrix<S> T = (A / A.norm()).cast<S>();
    for (auto _ : state) benchmark::DoNotOptimize(fastcca::contraction_polar<S>(T)->data());
}

void sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2})
        for (const auto& [d, m] : {std::pair{50, 1000}, {128, 1024}, {256, 2048}, {512, 4096}, {1024, 8192}})
            b->Args({d, m, threads});
    b->ArgNames({"d", "m", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

constexpr auto kTrace = fastcca::CorrelationObjective::kTrace;
constexpr auto kSquares = fastcca::CorrelationObjective::kSquares;
BENCHMARK(correlation_loss<float, kTrace>)->Apply(sizes);
BENCHMARK(correlation_loss<float, kSquares>)->Apply(sizes);
BENCHMARK(correlation_loss<double, kTrace>)->Apply(sizes);
void squares(benchmark::internal::Benchmark* b) {
    b->ArgsProduct({{50, 128, 256, 512, 1024}, {1, 2}})->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(contraction_polar<float>)->Apply(squares);
BENCHMARK(contraction_polar<double>)->Apply(squares);

}  // namespace
