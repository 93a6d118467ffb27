// Tiles of kernels, pivoted Cholesky (n m² flops) and the features' moments (n (2m)² + 2 n m² of both views).
#include <benchmark/benchmark.h>

#include <cmath>
#include <memory>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/kernels/features.hpp"
#include "fastcca/kernels/incomplete_cholesky.hpp"
#include "fastcca/linalg/random.hpp"

namespace {

using namespace fastcca;

constexpr Index kColumns = 50;
const KernelSpec kRbf{KernelType::kRbf, 0.05, 3, 1.0};

void count(benchmark::State& state, double flops) {
    state.counters["flops"] =
        benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

template <typename T>
Matrix<T> data(Index n) {
    return random_uniform(n, kColumns).template cast<T>();
}

template <typename T, KernelType type>
void kernel(benchmark::State& state) {
    const ThreadScope threads(static_cast<int>(state.range(1)));
    const Matrix<T> X = data<T>(state.range(0));
    const KernelSpec spec{type, 0.05, 3, 1.0};
    const Matrix<T> K = kernel_matrix<T>(spec, view_of(X));
    if ((K.diagonal().array() - 1).abs().maxCoeff() > 0 && type != KernelType::kPolynomial)
        state.SkipWithError("the diagonal is not 1");
    for (auto _ : state) benchmark::DoNotOptimize(kernel_matrix<T>(spec, view_of(X), view_of(X)).data());
    // Kernel values per second.
    count(state, static_cast<double>(X.rows() * X.rows()));
}

template <typename T>
void pivoted_cholesky(benchmark::State& state) {
    const ThreadScope threads(static_cast<int>(state.range(2)));
    const Matrix<T> X = data<T>(state.range(0));
    PivotedCholeskyOptions options;
    options.rank = state.range(1);
    for (auto _ : state) {
        PivotedCholesky<T> factor(std::make_shared<BuiltinColumns<T>>(kRbf, view_of(X)), options);
        while (factor.step()) {
        }
        const double left = static_cast<double>(X.rows()) -
                            factor.features().topRows(factor.rank()).template cast<double>().squaredNorm();
        if (std::abs(left - factor.residual_trace().back()) > 1e-4 * static_cast<double>(X.rows()))
            state.SkipWithError("the residual trace is wrong");
    }
    count(state, static_cast<double>(X.rows()) * std::pow(static_cast<double>(options.rank), 2));
}

template <typename T>
void feature_moments(benchmark::State& state) {
    const ThreadScope threads(static_cast<int>(state.range(2)));
    const Matrix<T> X = data<T>(state.range(0));
    const Index m = state.range(1);
    const Matrix<T> points = X.topRows(m);
    Matrix<double> L = kernel_matrix<double>(kRbf, view_of(Matrix<double>(points.template cast<double>())));
    if (cholesky<double>(L) >= 0) state.SkipWithError("the landmarks are dependent");
    const FeatureMap<T> map(Landmarks<T>(kRbf, view_of(points)), L);
    const Vector<T> shift = Vector<T>::Zero(kColumns);
    const FeatureInput<T> input{view_of(X), view_of(X)};
    for (auto _ : state) {
        FeatureMoments<T> moments(map, map, shift, shift);
        moments.add(input, input);
        benchmark::DoNotOptimize(moments.finish().moments.scatter.data());
    }
    count(state, 6.0 * static_cast<double>(X.rows()) * std::pow(static_cast<double>(m), 2));
}

void kernel_sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2}) b->Args({4000, threads});
    b->ArgNames({"n", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}
void rank_sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2})
        for (const int rank : {250, 1000}) b->Args({10000, rank, threads});
    b->ArgNames({"n", "rank", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(kernel<double, KernelType::kRbf>)->Apply(kernel_sizes);
BENCHMARK(kernel<float, KernelType::kRbf>)->Apply(kernel_sizes);
BENCHMARK(kernel<double, KernelType::kLaplacian>)->Apply(kernel_sizes);
BENCHMARK(kernel<float, KernelType::kLaplacian>)->Apply(kernel_sizes);
BENCHMARK(kernel<double, KernelType::kPolynomial>)->Apply(kernel_sizes);
BENCHMARK(pivoted_cholesky<double>)->Apply(rank_sizes);
BENCHMARK(pivoted_cholesky<float>)->Apply(rank_sizes);
BENCHMARK(feature_moments<double>)->Apply(rank_sizes);
BENCHMARK(feature_moments<float>)->Apply(rank_sizes);

}  // namespace
