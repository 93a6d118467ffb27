// Exact search: 2 n m d flops are counted, the products of all pairs.
#include <benchmark/benchmark.h>

#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/retrieval/top_k.hpp"

namespace {

using fastcca::Index;

template <typename T, fastcca::Similarity kSimilarity>
void top_k(benchmark::State& state) {
    const Index n = state.range(0), m = state.range(1), d = state.range(2), k = state.range(3);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(4)));
    // Rows as columns: the memory of a row-major view. The first queries are rows of the gallery.
    const fastcca::Matrix<T> G = fastcca::random_uniform(d, m, 1).cast<T>(), Q = G.leftCols(n);
    const fastcca::MatrixView<T> gallery{G.data(), m, d, d, 1}, queries{Q.data(), n, d, d, 1};
    std::vector<Index> indices(static_cast<std::size_t>(n * k));
    std::vector<T> scores(indices.size());
    for (auto _ : state) {
        fastcca::top_k<T>(gallery, queries, kSimilarity, k, indices.data(), scores.data());
        benchmark::DoNotOptimize(scores.data());
    }
    if (kSimilarity != fastcca::Similarity::kInnerProduct)
        for (Index q = 0; q < n; ++q)
            if (indices[static_cast<std::size_t>(q * k)] != q)
                state.SkipWithError("a row does not find itself");
    state.counters["flops"] =
        benchmark::Counter(2.0 * static_cast<double>(n * m) * static_cast<double>(d),
                           benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2}) {
        b->Args({1000, 200000, 64, 10, threads});
        b->Args({1000, 200000, 64, 200, threads});
        b->Args({1000, 20000, 512, 10, threads});
        b->Args({1, 200000, 64, 10, threads});
    }
    b->ArgNames({"n", "m", "d", "k", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(top_k<float, fastcca::Similarity::kInnerProduct>)->Apply(sizes);
BENCHMARK(top_k<float, fastcca::Similarity::kCosine>)->Apply(sizes);
BENCHMARK(top_k<float, fastcca::Similarity::kEuclidean>)->Apply(sizes);
BENCHMARK(top_k<double, fastcca::Similarity::kEuclidean>)->Apply(sizes);

}  // namespace
