// The solver alone, on moments and centred data of two views with a few shared directions. It must hide
// beneath the moments pass: 20000 x (200, 200) and 20000 x (1000, 1000) are the sizes to compare.
#include <benchmark/benchmark.h>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/solver/cross_validation.hpp"
#include "fastcca/solver/data_solvers.hpp"

namespace {

using fastcca::Index;
using fastcca::Matrix;
using fastcca::Vector;

struct Data {
    Matrix<double> X, Y;
    Data(Index n, Index p, Index q) {
        const Matrix<double> Z = fastcca::random_uniform(n, 12, 1);
        X = fastcca::random_uniform(n, p, 2) + Z * fastcca::random_uniform(12, p, 3);
        Y = fastcca::random_uniform(n, q, 4) + Z * fastcca::random_uniform(12, q, 5);
    }
};

struct Sums {
    Vector<double> mean, eps, rounding;
    Matrix<double> scatter;
    double n;

    Sums(const Data& data, Index start, Index count) : n(static_cast<double>(count)) {
        Matrix<double> both(count, data.X.cols() + data.Y.cols());
        both << data.X.middleRows(start, count), data.Y.middleRows(start, count);
        mean = both.colwise().mean().transpose();
        both.rowwise() -= mean.transpose();
        scatter.resize(both.cols(), both.cols());
        fastcca::symmetric_product<double>(1.0, both, fastcca::Op::kTranspose, 0.0, scatter);
        eps.setConstant(mean.size(), 2.2e-16);
        rounding = eps;
    }
    fastcca::MomentsView view() const {
        const Index d = mean.size();
        return {n, {mean.data(), d}, {scatter.data(), d, d}, {eps.data(), d}, {rounding.data(), d}};
    }
};

void covariance(benchmark::State& state) {
    const Index d = state.range(0), k = state.range(1);
    const fastcca::ThreadScope threads(static_cast<int>(state.range(2)));
    const Data data(10 * d, d, d);
    const Sums sums(data, 0, 10 * d);
    for (auto _ : state)
        benchmark::DoNotOptimize(
            fastcca::solve_moments(sums.view(), d, k, {0.0, 1e-3}).singular_values.data());
}
BENCHMARK(covariance)
    ->ArgsProduct({{200, 1000}, {10, 1000}, {1, 2}})
    ->ArgNames({"d", "k", "threads"})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void data_road(benchmark::State& state) {
    const Index n = state.range(0), d = state.range(1);
    const bool gram = state.range(2) != 0;
    const fastcca::ThreadScope threads(static_cast<int>(state.range(3)));
    const Data data(n, d, d);
    for (auto _ : state) {
        auto x = fastcca::centre(fastcca::view_of(data.X), {}, "X"),
             y = fastcca::centre(fastcca::view_of(data.Y), {}, "y");
        const auto solve = gram ? &fastcca::solve_gram : &fastcca::solve_qr;
        benchmark::DoNotOptimize(solve(std::move(x), std::move(y), 10, {1e-3, 1e-3}).singular_values.data());
    }
}
void data_sizes(benchmark::internal::Benchmark* b) {
    for (const int threads : {1, 2}) {
        b->Args({20000, 200, 0, threads});
        b->Args({500, 2000, 0, threads});
        b->Args({500, 2000, 1, threads});
    }
    b->ArgNames({"n", "d", "gram", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(data_road)->Apply(data_sizes);

// 20 ridges × 5 folds.
void cross_validation(benchmark::State& state) {
    const Index d = state.range(0), k = state.range(1), n_folds = 5, rows = 4 * d;
    const fastcca::ThreadScope threads(static_cast<int>(state.range(2)));
    const Data data(n_folds * rows, d, d);
    const Sums total(data, 0, n_folds * rows);
    const Vector<double> variation = total.scatter.diagonal();
    std::vector<Sums> held_out;
    for (Index f = 0; f < n_folds; ++f) held_out.emplace_back(data, f * rows, rows);
    std::vector<fastcca::Fold> folds;
    for (const Sums& sums : held_out) folds.push_back({total.view(), sums.view()});
    std::vector<fastcca::Penalty> regs;
    for (int i = 0; i < 20; ++i)
        regs.push_back({std::pow(10, -6 + 7 * i / 19.0), std::pow(10, -6 + 7 * i / 19.0)});
    for (auto _ : state)
        benchmark::DoNotOptimize(
            fastcca::held_out_correlations(folds, {variation.data(), variation.size()}, d, regs, k).data());
}
BENCHMARK(cross_validation)
    ->ArgsProduct({{200}, {10, 200}, {1, 2}})
    ->ArgNames({"d", "k", "threads"})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
