#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/moments/moments.hpp"
#include "fastcca/warp/warp.hpp"

using fastcca::Index;
using fastcca::Matrix;
using fastcca::WarpEpoch;

namespace {

// Classes that differ in one feature each.
struct Problem {
    Matrix<double> X, W, V;  // X: samples as columns, W: p × d, V: d × classes: row-major memory, all three
    std::vector<Index> y, order;

    Problem(Index n, Index d, Index n_classes) {
        X = 0.2 * fastcca::random_uniform(n_classes, n, 1);
        W = fastcca::random_uniform(n_classes, d, 2);
        V = fastcca::random_uniform(d, n_classes, 3);
        for (Index i = 0; i < n; ++i) {
            y.push_back(i % n_classes);
            order.push_back((i * 7) % n);
            X(y.back(), i) += 1;
        }
    }
    WarpEpoch<double> epoch(double rate, double max_norm) const {
        WarpEpoch<double> e;
        e.X = {X.data(), X.cols(), X.rows(), X.rows(), 1};
        e.y = y.data();
        e.order = order.data();
        e.n_steps = static_cast<Index>(order.size());
        e.n_classes = V.cols();
        e.width = V.rows();
        e.learning_rate = rate;
        e.max_norm = max_norm;
        return e;
    }
};

}  // namespace

TEST_CASE("a WARP step by hand") {
    // f = (1, 1/2): class 1 violates by 1/2 and is found at once, weight L(1) = 1; g = 1/2, z = 1.
    Problem p(1, 1, 2);
    p.X << 1, 0;
    p.W << 1, 0;
    p.V << 1, 0.5;
    const fastcca::WarpResult r = fastcca::warp_epoch(p.epoch(0.5, 0), p.W.data(), p.V.data());
    CHECK(r.loss == 0.5);
    CHECK(r.updates == 1);
    CHECK(r.draws == 1);
    CHECK(p.W(0) == 1.25);
    CHECK(p.V(0) == 1.5);
    CHECK(p.V(1) == 0);
}

TEST_CASE("WARP steps lower the loss, inside the balls, and end as they began when they diverge") {
    Problem p(60, 5, 6);
    double first = 0, last = 0;
    for (int i = 0; i < 60; ++i) {
        WarpEpoch<double> e = p.epoch(0.05, 2);
        e.seed = static_cast<std::uint64_t>(i);
        last = fastcca::warp_epoch(e, p.W.data(), p.V.data()).loss;
        if (i == 0) first = last;
    }
    CHECK(last < 0.5 * first);
    CHECK(p.V.colwise().norm().maxCoeff() <= 2 + 1e-12);
    // W is d × p, row major: of p × d in memory the rows are its columns.
    CHECK(p.W.size() == 30);
    const Eigen::Map<const Matrix<double>> W(p.W.data(), 6, 5);
    CHECK(W.rowwise().norm().maxCoeff() <= 2 + 1e-12);

    const Matrix<double> before = p.W;
    WarpEpoch<double> wild = p.epoch(1e300, 0);
    wild.margin = 100;
    CHECK_THROWS_AS(fastcca::warp_epoch(wild, p.W.data(), p.V.data()), fastcca::NumericalError);
    CHECK(p.W == before);
    p.X(2, 3) = std::nan("");
    CHECK_THROWS_AS(fastcca::warp_epoch(p.epoch(0.1, 1), p.W.data(), p.V.data()), fastcca::NonFiniteError);
}

TEST_CASE("WARP steps of samples with several labels") {
    Problem plain(12, 3, 5), alone = plain, both = plain;
    std::vector<Index> starts, positives;
    for (Index i = 0; i <= 12; ++i) starts.push_back(i);
    auto epoch = alone.epoch(0.1, 2);
    epoch.positive_starts = starts.data();
    epoch.positives = alone.y.data();
    const auto expected = fastcca::warp_epoch(plain.epoch(0.1, 2), plain.W.data(), plain.V.data());
    const auto found = fastcca::warp_epoch(epoch, alone.W.data(), alone.V.data());
    CHECK(found.loss == expected.loss);
    CHECK(alone.V == plain.V);
    // the first half has all labels, the others all but the last, which is drawn
    starts.assign(1, 0);
    for (Index i = 0; i < 12; ++i) {
        for (Index c = 0; c < (i < 6 || both.y[static_cast<std::size_t>(i)] == 4 ? 5 : 4); ++c)
            positives.push_back(c);
        starts.push_back(static_cast<Index>(positives.size()));
    }
    const Matrix<double> before = both.V;
    auto of_sets = both.epoch(0.1, 0);
    of_sets.margin = 1e3;
    of_sets.positive_starts = starts.data();
    of_sets.positives = positives.data();
    const auto result = fastcca::warp_epoch(of_sets, both.W.data(), both.V.data());
    CHECK(result.draws == result.updates);
    CHECK(result.updates == 5);  // rows 6, 7, 8, 10, 11
    CHECK(both.V.col(4) != before.col(4));
    positives[0] = 1;
    CHECK_THROWS_AS(fastcca::warp_epoch(of_sets, both.W.data(), both.V.data()), std::invalid_argument);
}
