// The methods of the solver against each other and against what their solution must satisfy.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <limits>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/solver/cross_validation.hpp"
#include "fastcca/solver/data_solvers.hpp"

using namespace fastcca;

namespace {

struct Views {
    Matrix<double> X, Y;
    Views(Index n, Index p, Index q, std::uint64_t seed = 1) {
        const Matrix<double> Z = random_uniform(n, 3, seed);
        X = 0.5 * random_uniform(n, p, seed + 1) + Z * random_uniform(3, p, seed + 2);
        Y = 0.5 * random_uniform(n, q, seed + 3) + Z * random_uniform(3, q, seed + 4);
        X.array() += 2;
    }
};

struct Sums {
    double n;
    Vector<double> mean, eps, rounding;
    Matrix<double> scatter;
    Sums(const Matrix<double>& X, const Matrix<double>& Y) : n(static_cast<double>(X.rows())) {
        Matrix<double> both(X.rows(), X.cols() + Y.cols());
        both << X, Y;
        mean = both.colwise().mean().transpose();
        both.rowwise() -= mean.transpose();
        scatter = both.transpose() * both;
        eps.setConstant(mean.size(), std::numeric_limits<double>::epsilon());
        rounding = eps;
    }
    MomentsView view() const {
        const Index d = mean.size();
        return {n, {mean.data(), d}, {scatter.data(), d, d}, {eps.data(), d}, {rounding.data(), d}};
    }
};

Solution by_covariance(const Views& v, Index k, Penalty reg) {
    return solve_moments(Sums(v.X, v.Y).view(), v.X.cols(), k, reg);
}
Solution by_data(const Views& v, Index k, Penalty reg, bool gram, const Vector<double>& w = {}) {
    const auto solve = gram ? &solve_gram : &solve_qr;
    return solve(centre(view_of(v.X), w, "X"), centre(view_of(v.Y), w, "y"), k, reg);
}

double distance(const Solution& a, const Solution& b) {
    REQUIRE(a.singular_values.size() == b.singular_values.size());
    return std::max({(a.singular_values - b.singular_values).cwiseAbs().maxCoeff(),
                     (a.x_weights - b.x_weights).cwiseAbs().maxCoeff(),
                     (a.y_weights - b.y_weights).cwiseAbs().maxCoeff()});
}

}  // namespace

TEST_CASE("all methods agree, and the weights whiten") {
    for (const Index p : {1, 2, 7, 16, 17, 33}) {
        for (const Index q : {1, 5, 31}) {
            CAPTURE(p);
            CAPTURE(q);
            const Views v(120, p, q);
            const Index k = std::min(p, q);
            for (const Penalty reg : {Penalty{0, 0}, Penalty{0.01, 0.3}}) {
                const Solution c = by_covariance(v, k, reg);
                CHECK(distance(c, by_data(v, k, reg, false)) < 1e-8);
                CHECK(distance(c, by_data(v, k, reg, true)) < 1e-8);
                CHECK(c.rank == std::array<Index, 2>{p, q});
                // W₁ᵀ (S₁₁ + r₁ I) W₁ = I and W₁ᵀ S₁₂ W₂ = D
                const Sums s(v.X, v.Y);
                Matrix<double> S = s.scatter / (s.n - 1);
                S.diagonal().head(p).array() += reg.x;
                const Matrix<double> white = c.x_weights.transpose() * S.topLeftCorner(p, p) * c.x_weights;
                CHECK((white - Matrix<double>::Identity(k, k)).norm() < 1e-11);
                Matrix<double> D = c.x_weights.transpose() * S.topRightCorner(p, q) * c.y_weights;
                D.diagonal() -= c.singular_values;
                CHECK(D.norm() < 1e-11);
            }
        }
    }
}

TEST_CASE("more columns than rows") {
    const Views v(20, 40, 30);
    const Penalty reg{0.1, 0.2};
    const Solution c = by_covariance(v, 4, reg);
    CHECK(distance(c, by_data(v, 4, reg, false)) < 1e-9);
    CHECK(distance(c, by_data(v, 4, reg, true)) < 1e-9);
    for (const bool gram : {false, true}) {
        const Solution s = by_data(v, 30, {0, 0}, gram);
        CHECK(s.rank == std::array<Index, 2>{19, 19});
        CHECK(s.dropped == std::array<bool, 2>{true, true});
        CHECK(std::isinf(s.condition[0]));
        CHECK((s.singular_values.array() - 1).abs().maxCoeff() < 1e-9);
    }
}

TEST_CASE("constant and repeated columns") {
    Views v(50, 6, 4);
    v.X.col(1).setConstant(0.1);
    v.X.col(4) = v.X.col(0);
    v.Y.col(3).setZero();
    for (const double r : {0.0, 0.5}) {
        const Solution c = by_covariance(v, 4, {r, r});
        CHECK(c.rank == std::array<Index, 2>{4, 3});
        CHECK(c.dropped == std::array<bool, 2>{r == 0, false});
        CHECK(c.singular_values.size() == 3);
        CHECK(c.x_weights.row(1).norm() == 0);
        CHECK(c.y_weights.row(3).norm() == 0);
        CHECK((c.x_weights.row(4) - c.x_weights.row(0)).norm() < 1e-9);
        CHECK(distance(c, by_data(v, 4, {r, r}, false)) < 1e-8);
        CHECK(distance(c, by_data(v, 4, {r, r}, true)) < 1e-8);
    }
    v.Y.setConstant(7);
    CHECK_THROWS_AS(by_covariance(v, 1, {1, 1}), NumericalError);
    CHECK_THROWS_AS(by_data(v, 1, {1, 1}, false), NumericalError);
}

TEST_CASE("weights are repetitions") {
    const Views v(40, 5, 3);
    Views twice(60, 5, 3);
    Vector<double> w = Vector<double>::Ones(40);
    w.head(20).setConstant(2);
    twice.X << v.X, v.X.topRows(20);
    twice.Y << v.Y, v.Y.topRows(20);
    for (const bool gram : {false, true})
        CHECK(distance(by_data(v, 3, {0.1, 0}, gram, w), by_data(twice, 3, {0.1, 0}, gram)) < 1e-10);
}

TEST_CASE("the first value that is not finite is named") {
    Matrix<float> X = Matrix<float>::Random(700, 3);
    X(600, 1) = std::numeric_limits<float>::quiet_NaN();
    X(601, 0) = std::numeric_limits<float>::infinity();
    CHECK_THROWS_WITH_AS(centre(view_of(X), {}, "X"),
                         "Input X contains NaN: the first is at row 600, column 1", std::invalid_argument);
    Matrix<double> Y(2, 1);
    Y << std::numeric_limits<double>::max(), std::numeric_limits<double>::max();
    CHECK_THROWS_WITH_AS(centre(view_of(Y), {}, "y"), "the variances of y overflow: rescale its columns",
                         NumericalError);
}

TEST_CASE("signs: the entry of largest magnitude, the first of a tie") {
    Matrix<double> W1(3, 3), W2 = Matrix<double>::Ones(2, 3);
    W1 << 1, -2, 0.5,  //
        -3, 2 * (1 + 1e-15), -0.25, 2, 1, 0;
    fix_signs(W1, W2);
    CHECK(W1(1, 0) == 3);
    CHECK(W1(0, 1) == 2);
    CHECK(W1(0, 2) == 0.5);
    CHECK(W2.row(1) == Eigen::RowVector3d(-1, -1, 1));
}

TEST_CASE("held-out correlations are those of separate fits") {
    const Views v(90, 6, 5);
    const Sums total(v.X, v.Y);
    const Vector<double> variation = total.scatter.diagonal();
    const std::vector<Penalty> regs{{0, 0}, {0.1, 1}};
    std::vector<Sums> sums;
    sums.reserve(6);
    std::vector<Fold> folds;
    for (Index f = 0; f < 3; ++f) {
        Matrix<double> trainX(60, 6), trainY(60, 5);
        trainX << v.X.topRows(30 * f), v.X.bottomRows(60 - 30 * f);
        trainY << v.Y.topRows(30 * f), v.Y.bottomRows(60 - 30 * f);
        sums.emplace_back(trainX, trainY);
        sums.emplace_back(v.X.middleRows(30 * f, 30), v.Y.middleRows(30 * f, 30));
        folds.push_back({sums[sums.size() - 2].view(), sums.back().view()});
    }
    const auto run = [&](int threads) {
        const ThreadScope scope(threads);
        return held_out_correlations(folds, {variation.data(), variation.size()}, 6, regs, 7);
    };
    const auto result = run(1);
    for (std::size_t f = 0; f < 3; ++f) {
        for (std::size_t g = 0; g < regs.size(); ++g) {
            const Solution s = solve_moments(folds[f].train, 6, 7, regs[g]);
            const Matrix<double> S = folds[f].held_out.scatter;
            for (Index j = 0; j < 5; ++j) {
                const auto w1 = s.x_weights.col(j), w2 = s.y_weights.col(j);
                const double s11 = w1.dot(S.topLeftCorner(6, 6) * w1),
                             s22 = w2.dot(S.bottomRightCorner(5, 5) * w2);
                const double rho = w1.dot(S.topRightCorner(6, 5) * w2) / std::sqrt(s11 * s22);
                CHECK(result[f][g * 7 + static_cast<std::size_t>(j)] == doctest::Approx(rho).epsilon(1e-9));
            }
            CHECK(std::isnan(result[f][g * 7 + 5]));
        }
    }
    for (const int threads : {2, 7}) {
        const auto other = run(threads);
        for (std::size_t f = 0; f < 3; ++f)
            for (std::size_t i = 0; i < 14; ++i)
                CHECK((other[f][i] == result[f][i] || (std::isnan(other[f][i]) && std::isnan(result[f][i]))));
    }
}

TEST_CASE("the number of threads changes no bit") {
    const Views v(2100, 60, 45);
    for (const bool gram : {false, true}) {
        const auto run = [&](int threads) {
            const ThreadScope scope(threads);
            return by_data(v, 45, {0.1, 0.1}, gram);
        };
        const Solution one = run(1);
        CHECK(distance(one, run(2)) == 0);
        CHECK(distance(one, run(7)) == 0);
    }
}

TEST_CASE("an interrupt ends the work") {
    const Views v(3000, 150, 150);
    set_interrupt_hook([] { return true; });
    CHECK_THROWS_AS(by_data(v, 5, {0, 0}, false), Interrupted);
    set_interrupt_hook(nullptr);
    CHECK(by_data(v, 5, {0, 0}, false).singular_values.size() == 5);
}
