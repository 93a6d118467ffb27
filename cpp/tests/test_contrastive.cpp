#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/contrastive/contrastive.hpp"
#include "fastcca/linalg/random.hpp"

using fastcca::ContrastiveCodes;
using fastcca::ContrastiveLoss;
using fastcca::ContrastiveProblem;
using fastcca::ContrastiveSimilarity;
using fastcca::ContrastiveValue;
using fastcca::Index;
using fastcca::Matrix;

namespace {

// Rows as columns: the memory of a row-major view.
template <typename T>
struct Data {
    Matrix<T> A, B;
    std::vector<Index> codes;

    Data(Index n, Index d) {
        const Matrix<double> a = fastcca::random_uniform(d, n, 1);
        const Matrix<double> b = a + 0.5 * fastcca::random_uniform(d, n, 2);
        A = a.cast<T>();
        B = b.cast<T>();
        for (Index i = 0; i < n; ++i) codes.push_back((5 * i) % (n / 3 + 1));
    }
    ContrastiveProblem<T> problem(ContrastiveLoss loss, double scale) const {
        ContrastiveProblem<T> p;
        p.A = {A.data(), A.cols(), A.rows(), A.rows(), 1};
        p.B = {B.data(), B.cols(), B.rows(), B.rows(), 1};
        p.a_weight = p.b_weight = 0.5 / static_cast<double>(A.cols());
        p.scale = scale;
        p.bias = loss == ContrastiveLoss::kSigmoid ? -1.0 : 0.0;
        p.loss = loss;
        return p;
    }
};

template <typename T>
struct Result {
    ContrastiveValue total;
    Matrix<T> GA, GB;
};

template <typename T>
Result<T> loss(const ContrastiveProblem<T>& p) {
    Result<T> r{{}, Matrix<T>(p.A.cols, p.A.rows), Matrix<T>(p.B.cols, p.B.rows)};
    r.total = fastcca::contrastive_loss(p, r.GA.data(), r.GB.data());
    return r;
}

// The value from all scores at once.
double slow_value(const ContrastiveProblem<double>& p) {
    const Index n = p.A.rows;
    Matrix<double> X = p.A.map(), Y = p.B.map();
    if (p.similarity == ContrastiveSimilarity::kCosine) {
        X.rowwise().normalize();
        Y.rowwise().normalize();
    }
    const Matrix<double> S = (p.scale * X * Y.transpose()).array() + p.bias;
    const bool labels = p.a_codes && p.codes == ContrastiveCodes::kLabels;
    const auto same = [&](Index i, Index j) { return p.a_codes ? p.a_codes[i] == p.b_codes[j] : i == j; };
    double value = 0;
    for (Index i = 0; i < n; ++i) {
        if (p.loss == ContrastiveLoss::kSigmoid) {
            for (Index j = 0; j < n; ++j) {
                const bool positive = labels ? same(i, j) : i == j;
                if (!positive && !labels && same(i, j)) continue;
                value += (p.a_weight + p.b_weight) * std::log1p(std::exp(positive ? -S(i, j) : S(i, j)));
            }
            continue;
        }
        for (const bool forwards : {true, false}) {
            double sum = 0, positives = 0, count = 0;
            for (Index j = 0; j < n; ++j) {
                const double s = forwards ? S(i, j) : S(j, i);
                const bool positive = labels ? same(i, j) : i == j;
                if (positive) positives += s, ++count;
                if (positive || labels || !same(i, j)) sum += std::exp(s);
            }
            value += (forwards ? p.a_weight : p.b_weight) * (std::log(sum) - positives / count);
        }
    }
    return value;
}

const auto kEachLoss = {ContrastiveLoss::kSoftmax, ContrastiveLoss::kSigmoid};

}  // namespace

TEST_CASE("contrastive loss: values and gradients") {
    for (const ContrastiveLoss kind : kEachLoss)
        for (const auto similarity : {ContrastiveSimilarity::kCosine, ContrastiveSimilarity::kDot})
            for (const int codes : {0, 1, 2})
                for (const Index n : {1, 3, 29, 150}) {
                    const Index d = 7;
                    Data<double> data(n, d);
                    auto p = data.problem(kind, 3.0);
                    p.similarity = similarity;
                    if (codes) {
                        p.a_codes = p.b_codes = data.codes.data();
                        p.codes = codes == 1 ? ContrastiveCodes::kItems : ContrastiveCodes::kLabels;
                    }
                    const auto found = loss(p);
                    CHECK(found.total.value == doctest::Approx(slow_value(p)).epsilon(1e-12));
                    CHECK(fastcca::contrastive_loss<double>(p, nullptr, nullptr).value == found.total.value);
                    const double h = 1e-4;
                    const double most = 1e-8 + 1e-9 * std::abs(found.total.value);  // of rounding over h
                    const auto slope = [&](double& x) {                             // to the fourth order
                        const double kept = x;
                        const auto odd_part = [&](double step) {
                            x = kept + step;
                            const double above = slow_value(p);
                            x = kept - step;
                            const double below = slow_value(p);
                            x = kept;
                            return above - below;
                        };
                        return (8 * odd_part(h) - odd_part(2 * h)) / (12 * h);
                    };
                    for (const Index i : {Index{0}, n / 2, n - 1}) {
                        CHECK(std::abs(found.GA(i % d, i) - slope(data.A(i % d, i))) < most);
                        CHECK(std::abs(found.GB(i % d, i) - slope(data.B(i % d, i))) < most);
                    }
                    CHECK(std::abs(found.total.scale_slope - slope(p.scale)) < most);
                    if (kind == ContrastiveLoss::kSigmoid)
                        CHECK(std::abs(found.total.bias_slope - slope(p.bias)) < most);
                }
}

TEST_CASE_TEMPLATE("contrastive loss: any number of threads gives the same bits", T, float, double) {
    const Data<T> data(500, 37);
    for (const ContrastiveLoss kind : kEachLoss)
        for (const double scale : {5.0, 500.0}) {
            const auto p = data.problem(kind, scale);
            const fastcca::ThreadScope alone(1);
            const auto one = loss(p);
            CHECK(std::isfinite(one.total.value));
            for (const int threads : {2, 5}) {
                const fastcca::ThreadScope scope(threads);
                const auto many = loss(p);
                CHECK(many.total.value == one.total.value);
                CHECK(many.total.scale_slope == one.total.scale_slope);
                CHECK(many.GA == one.GA);
                CHECK(many.GB == one.GB);
            }
        }
}

TEST_CASE("contrastive loss: float is close to double, also for steep scores") {
    const Data<float> single(200, 20);
    Data<double> twice(200, 20);
    twice.A = single.A.cast<double>();
    twice.B = single.B.cast<double>();
    for (const ContrastiveLoss kind : kEachLoss)
        for (const double scale : {10.0, 200.0}) {
            const auto found = loss(single.problem(kind, scale));
            const auto exact = loss(twice.problem(kind, scale));
            CHECK(found.total.value == doctest::Approx(exact.total.value).epsilon(1e-4));
            CHECK((found.GA.cast<double>() - exact.GA).norm() < 1e-3 * exact.GA.norm());
            CHECK((found.GB.cast<double>() - exact.GB).norm() < 1e-3 * exact.GB.norm());
        }
}

TEST_CASE("contrastive loss: rows of zeros, numbers that are none, overflow") {
    Data<double> data(20, 4);
    data.A.col(3).setZero();
    for (const ContrastiveLoss kind : kEachLoss) {
        auto p = data.problem(kind, 2.0);
        const auto found = loss(p);
        CHECK(found.GA.col(3).isZero(0));
        CHECK(found.GA.allFinite());
        data.B(2, 7) = std::numeric_limits<double>::quiet_NaN();
        CHECK_THROWS_AS(loss(p), fastcca::NonFiniteError);
        data.B(2, 7) = 1;
        p.similarity = ContrastiveSimilarity::kDot;
        p.scale = 1e308;
        CHECK_THROWS_AS(loss(p), fastcca::NumericalError);
    }
}
