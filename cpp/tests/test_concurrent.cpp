// Calls from several threads at once, which share the pool and the kept memory: bitwise those of one thread.
// Under ThreadSanitizer (-fsanitize=thread) this looks for races in everything that a fit, a loss and a
// search do.
#include <doctest/doctest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "fastcca/level/level.hpp"
#include "fastcca/linalg/random.hpp"

using namespace fastcca;

namespace {

void append(std::vector<double>& all, const Matrix<double>& part) {
    all.insert(all.end(), part.data(), part.data() + part.size());
}

void append(std::vector<double>& all, const Solution& solution) {
    append(all, solution.x_weights);
    append(all, solution.y_weights);
    append(all, Matrix<double>(solution.singular_values));
}

// Everything that a fit by each method, a loss with its gradients and a search give for the views of a seed.
std::vector<double> computed(std::uint64_t seed, Index n) {
    const Index p = 40, q = 30;
    const Matrix<double> Z = random_uniform(n, 5, seed);
    const Matrix<double> X = Z * random_uniform(5, p, seed + 1) + random_uniform(n, p, seed + 2);
    const Matrix<double> Y = Z * random_uniform(5, q, seed + 3) + random_uniform(n, q, seed + 4);
    const Level& level = this_level();
    std::vector<double> all;

    const MomentSums sums = level.f64.moments({view_of(X), view_of(Y)}, nullptr, false);
    const Vector<double> mean = sums.shift + sums.offset;
    const Vector<double> eps = Vector<double>::Constant(p + q, 2.2e-16);
    const MomentsView moments{sums.n,
                              {mean.data(), p + q},
                              {sums.scatter.data(), p + q, p + q},
                              {eps.data(), p + q},
                              {eps.data(), p + q}};
    append(all, sums.scatter);
    append(all, level.solve_moments(moments, p, 3, Penalty{0, 0}));

    const CentredView x = level.f64.centre(view_of(X), {}, "X"), y = level.f64.centre(view_of(Y), {}, "y");
    append(all, level.solve_qr(x, y, 3, Penalty{0.1, 0.1}));
    append(all, level.solve_gram(x, y, 3, Penalty{0.1, 0.1}));

    Matrix<double> G1(p, n), G2(q, n);
    CorrelationOptions options;
    options.k = q;
    options.reg1 = options.reg2 = 1e-3;
    all.push_back(level.f64.correlation_loss(view_of(X), view_of(Y), options, G1.data(), G2.data()));
    append(all, G1);
    append(all, G2);

    std::vector<Index> indices(static_cast<std::size_t>(n * 3));
    std::vector<double> scores(indices.size());
    level.f64.top_k(view_of(X), view_of(X), Similarity::kCosine, 3, indices.data(), scores.data());
    all.insert(all.end(), scores.begin(), scores.end());
    all.insert(all.end(), indices.begin(), indices.end());
    return all;
}

}  // namespace

TEST_CASE("fits, losses and searches from several threads at once") {
    constexpr std::size_t kCallers = 4, kRounds = 3;
    const auto rows = [](std::size_t caller) { return static_cast<Index>(150 + 100 * caller); };
    std::vector<std::vector<double>> expected;
    for (std::size_t i = 0; i < kCallers; ++i) expected.push_back(computed(i, rows(i)));

    std::vector<int> equal(kCallers, 0);
    std::vector<std::thread> callers;
    for (std::size_t i = 0; i < kCallers; ++i)
        callers.emplace_back([&, i] {
            for (std::size_t round = 0; round < kRounds; ++round)
                this_level().with_threads(1 + static_cast<int>((i + round) % 3), [&] {
                    if (computed(i, rows(i)) == expected[i]) ++equal[i];
                });
        });
    for (std::thread& caller : callers) caller.join();
    for (std::size_t i = 0; i < kCallers; ++i) CHECK(equal[i] == static_cast<int>(kRounds));
}
