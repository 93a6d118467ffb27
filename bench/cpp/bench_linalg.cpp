// The dense building blocks: flops counted as is usual for each (2mnk for products, n³/3 for Cholesky, n² per
// right-hand side, 2nd² for R of a QR and twice that with Q); decompositions report their time alone.
#include <benchmark/benchmark.h>

#include <cmath>
#include <utility>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/qr.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/linalg/roots.hpp"
#include "fastcca/linalg/svd.hpp"

namespace {

using fastcca::Index;
using fastcca::Matrix;
using fastcca::Op;
using fastcca::random_uniform;

void report_flops(benchmark::State& state, double flops) {
    state.counters["flops"] =
        benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

double cube(Index n) { return static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n); }

template <typename T>
void gemm(benchmark::State& state) {
    const Index n = state.range(0);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(1)));
    const Matrix<T> A = random_uniform(n, n, 1).cast<T>(), B = random_uniform(n, n, 2).cast<T>();
    Matrix<T> C(n, n);
    for (auto _ : state) {
        fastcca::gemm<T>(T(1), A, Op::kTranspose, B, Op::kNone, T(0), C);
        benchmark::DoNotOptimize(C.data());
    }
    report_flops(state, 2.0 * cube(n));
}

Matrix<double> positive_definite(Index n) {
    const Matrix<double> A = random_uniform(n, n, 3);
    Matrix<double> S(n, n);
    fastcca::symmetric_product<double>(1.0, A, Op::kTranspose, 0.0, S);
    S.diagonal().array() += 0.1 * static_cast<double>(n);
    return S;
}

void cholesky(benchmark::State& state) {
    const Index n = state.range(0);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(1)));
    const Matrix<double> S = positive_definite(n);
    Matrix<double> L;
    for (auto _ : state) {
        state.PauseTiming();
        L = S;
        state.ResumeTiming();
        if (fastcca::cholesky<double>(L) >= 0) state.SkipWithError("not positive definite");
    }
    report_flops(state, cube(n) / 3.0);
}

void solve_lower(benchmark::State& state) {
    const Index n = state.range(0);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(1)));
    Matrix<double> L = positive_definite(n), X;
    if (fastcca::cholesky<double>(L) >= 0) state.SkipWithError("not positive definite");
    const Matrix<double> B = random_uniform(n, n, 4);
    for (auto _ : state) {
        state.PauseTiming();
        X = B;
        state.ResumeTiming();
        fastcca::solve_lower<double>(L, X);
    }
    report_flops(state, cube(n));
}

void eigendecomposition(benchmark::State& state) {
    const fastcca::ThreadScope threads(static_cast<int>(state.range(1)));
    const Matrix<double> S = positive_definite(state.range(0));
    for (auto _ : state) benchmark::DoNotOptimize(fastcca::eigendecomposition(S).values.data());
}

void full_svd(benchmark::State& state) {
    const fastcca::ThreadScope threads(static_cast<int>(state.range(1)));
    const Matrix<double> A = random_uniform(state.range(0), state.range(0), 5);
    for (auto _ : state) benchmark::DoNotOptimize(fastcca::full_svd(A).values.data());
}

// Ten triplets above a floor of noise at a hundredth: the iteration converges.
void truncated_svd(benchmark::State& state) {
    const Index n = state.range(0);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(1)));
    const Matrix<double> Q = fastcca::thin_qr(random_uniform(n, 10, 6)).Q;
    Matrix<double> A = random_uniform(n, n, 7) * (0.01 / std::sqrt(static_cast<double>(n)));
    A += Q * fastcca::Vector<double>::LinSpaced(10, 1.0, 0.5).asDiagonal() * Q.transpose();
    for (auto _ : state) benchmark::DoNotOptimize(fastcca::truncated_svd(A, 10).values.data());
}

void polar(benchmark::State& state) {
    const Index n = state.range(0);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(1)));
    Matrix<double> A = random_uniform(n, n, 8) / std::sqrt(static_cast<double>(n));
    A.diagonal().array() += 1.0;
    for (auto _ : state) benchmark::DoNotOptimize(fastcca::polar(A).data());
}

template <bool kThin>
void qr(benchmark::State& state) {
    const Index n = state.range(0), d = state.range(1);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(2)));
    const Matrix<double> A = random_uniform(n, d, 9);
    for (auto _ : state) {
        if constexpr (kThin) {
            benchmark::DoNotOptimize(fastcca::thin_qr(A).Q.data());
        } else {
            benchmark::DoNotOptimize(fastcca::qr_r(A).data());
        }
    }
    report_flops(state, (kThin ? 4.0 : 2.0) * static_cast<double>(n * d * d));
}

void sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2})
        for (const int n : {50, 200, 1000}) b->Args({n, threads});
    b->ArgNames({"n", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

void large_sizes(benchmark::internal::Benchmark* b) {
    sizes(b);
    b->Args({6000, 2});
}

void tall_sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2})
        for (const auto& [n, d] : {std::pair{20000, 50}, {20000, 400}, {2000, 1000}})
            b->Args({n, d, threads});
    b->ArgNames({"n", "d", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(gemm<double>)->Apply(large_sizes);
BENCHMARK(gemm<float>)->Apply(sizes);
BENCHMARK(cholesky)->Apply(large_sizes);
BENCHMARK(solve_lower)->Apply(large_sizes);
BENCHMARK(qr<false>)->Apply(tall_sizes);
BENCHMARK(qr<true>)->Apply(tall_sizes);
BENCHMARK(eigendecomposition)->Apply(sizes);
BENCHMARK(full_svd)->Apply(sizes);
BENCHMARK(truncated_svd)->Apply(sizes);
BENCHMARK(polar)->Apply(sizes);

}  // namespace
