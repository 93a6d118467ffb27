#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/correlation/contraction.hpp"
#include "fastcca/correlation/correlation.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/linalg/svd.hpp"
#include "fastcca/moments/moments.hpp"

using fastcca::CorrelationObjective;
using fastcca::CorrelationOptions;
using fastcca::Index;
using fastcca::Matrix;

namespace {

struct Views {
    Matrix<double> H1, H2;
};

Views views(Index m, Index d1, Index d2) {
    const Matrix<double> latent = fastcca::random_uniform(m, std::max(d1, d2), 1);
    return {
        latent.leftCols(d1) + 0.7 * fastcca::random_uniform(m, d1, 2) + Matrix<double>::Constant(m, d1, 3),
        latent.leftCols(d2) * 2 + 0.7 * fastcca::random_uniform(m, d2, 3)};
}

template <typename T>
struct Result {
    double value;
    // row major m × d, that is, column major d × m
    Matrix<T> G1, G2;
};

template <typename T>
Result<T> loss(const Matrix<double>& H1, const Matrix<double>& H2, const CorrelationOptions& options) {
    const Matrix<T> A = H1.cast<T>(), B = H2.cast<T>();
    Result<T> r{0, Matrix<T>(A.cols(), A.rows()), Matrix<T>(B.cols(), B.rows())};
    r.value = fastcca::correlation_loss<T>(fastcca::view_of(A), fastcca::view_of(B), options, r.G1.data(),
                                           r.G2.data());
    return r;
}

CorrelationOptions with(Index k, double reg, CorrelationObjective objective = CorrelationObjective::kTrace) {
    return {k, reg, reg, objective, true};
}

Matrix<double> orthogonal(Index n, std::uint64_t seed) {
    const Matrix<double> A = fastcca::random_uniform(n, n, seed);
    return fastcca::full_svd(A).U;
}

double slope(const Views& v, const Views& direction, const CorrelationOptions& options) {
    const double h = 1e-5;
    const auto at = [&](double s) {
        return loss<double>(v.H1 + s * direction.H1, v.H2 + s * direction.H2, options).value;
    };
    return (at(h) - at(-h)) / (2 * h);
}

}  // namespace

TEST_CASE("the polar factor of a contraction") {
    for (const auto& size :
         std::vector<std::pair<Index, Index>>{{1, 1}, {5, 5}, {7, 3}, {3, 7}, {40, 40}, {130, 97}}) {
        const Index m = size.first, n = size.second;  // what CAPTURE takes; bindings may not be captured
        CAPTURE(m);
        CAPTURE(n);
        const Matrix<double> A = fastcca::random_uniform(m, n, 5);
        const Matrix<double> T = A / (A.norm() + 1);
        const Matrix<double> P = fastcca::contraction_polar<double>(T).value();
        // Orthonormal on the smaller side, and PᵀT symmetric and positive: T = P (PᵀT).
        const Index k = std::min(m, n);
        const Matrix<double> PP =
            m >= n ? Matrix<double>(P.transpose() * P) : Matrix<double>(P * P.transpose());
        CHECK((PP - Matrix<double>::Identity(k, k)).norm() < 1e-9);
        const Matrix<double> H =
            m >= n ? Matrix<double>(P.transpose() * T) : Matrix<double>(T * P.transpose());
        CHECK((H - H.transpose()).norm() < 1e-9 * H.norm());
        CHECK((H.diagonal().array() > 0).all());
    }
}

TEST_CASE("singular values of zero stay zero in the polar factor") {
    Matrix<double> T = Matrix<double>::Zero(6, 6);
    T.topLeftCorner(4, 4) = fastcca::random_uniform(4, 4, 9) / 4;
    const Matrix<double> P = fastcca::contraction_polar<double>(T).value();
    CHECK(P.bottomRows(2).norm() == 0);
    CHECK(P.rightCols(2).norm() == 0);
    CHECK(
        (P.topLeftCorner(4, 4).transpose() * P.topLeftCorner(4, 4) - Matrix<double>::Identity(4, 4)).norm() <
        1e-8);
    CHECK(fastcca::contraction_polar<double>(Matrix<double>::Zero(3, 2))->norm() == 0);
}

TEST_CASE_TEMPLATE("small singular values, from those near one to those far below the first bound", S, float,
                   double) {
    const Index n = 60;
    const Matrix<double> U = orthogonal(n, 1), V = orthogonal(n, 2);
    for (const double least : {0.99, 0.2, 1e-2, 1e-3, 1e-4}) {
        CAPTURE(least);
        fastcca::Vector<double> D(n);
        for (Index i = 0; i < n; ++i)
            D[i] = std::pow(least, static_cast<double>(i) / static_cast<double>(n - 1));
        const Matrix<double> T = U * D.asDiagonal() * V.transpose();
        const Matrix<double> P =
            fastcca::contraction_polar<S>(Matrix<S>(T.cast<S>()))->template cast<double>();
        const Matrix<double> error = U.transpose() * P * V - Matrix<double>::Identity(n, n);
        const double turned = sizeof(S) == 4 ? 1e-6 : 1e-11, stretched = sizeof(S) == 4 ? 2e-5 : 1e-11;
        for (Index i = 0; i < n; ++i)
            for (Index j = 0; j < n; ++j) CHECK(std::abs(error(i, j)) < turned / (D[i] + D[j]) + stretched);
    }
}

TEST_CASE("dead units together with small singular values") {
    Matrix<double> T = Matrix<double>::Zero(40, 40);
    const Matrix<double> U = orthogonal(30, 1), V = orthogonal(30, 2);
    fastcca::Vector<double> D = fastcca::Vector<double>::LinSpaced(30, 0.9, 1e-2);
    T.topLeftCorner(30, 30) = U * D.asDiagonal() * V.transpose();
    const Matrix<float> P = fastcca::contraction_polar<float>(Matrix<float>(T.cast<float>())).value();
    CHECK(P.bottomRows(10).norm() == 0);
    CHECK((P.topLeftCorner(30, 30).cast<double>() - U * V.transpose()).norm() < 1e-3);
}

TEST_CASE_TEMPLATE("no polar factor is claimed where rank is missing but for rounding", S, float, double) {
    for (const Index n : {Index{2}, Index{3}, Index{10}, Index{50}, Index{130}}) {
        for (const double rest : {0.0, 1e-18, 1e-9, 1e-6}) {  // what the null directions hold
            for (const Index rank : {Index{1}, n / 2, n - 1}) {
                CAPTURE(n);
                CAPTURE(rest);
                CAPTURE(rank);
                const Matrix<double> U = orthogonal(n, 3), V = orthogonal(n, 4);
                fastcca::Vector<double> D = fastcca::Vector<double>::Constant(n, rest);
                D.head(rank) = fastcca::Vector<double>::LinSpaced(rank, 0.99, 0.05);
                const Matrix<double> T = U * D.asDiagonal() * V.transpose();
                CHECK(!fastcca::contraction_polar<S>(Matrix<S>(T.cast<S>())).has_value());
            }
        }
    }
    CHECK(!fastcca::contraction_polar<S>(Matrix<S>::Constant(4, 4, std::numeric_limits<S>::quiet_NaN()))
               .has_value());
    CHECK(!fastcca::contraction_polar<S>(Matrix<S>::Identity(4, 4) * 3).has_value());
}

TEST_CASE("gradients equal difference quotients") {
    for (const auto objective : {CorrelationObjective::kTrace, CorrelationObjective::kSquares}) {
        for (const Index k : {Index{2}, Index{5}}) {
            const Views v = views(30, 5, 7);
            const CorrelationOptions options = with(k, 0.05, objective);
            const Result<double> r = loss<double>(v.H1, v.H2, options);
            const Views e{fastcca::random_uniform(30, 5, 11), fastcca::random_uniform(30, 7, 12)};
            const double inner =
                r.G1.transpose().cwiseProduct(e.H1).sum() + r.G2.transpose().cwiseProduct(e.H2).sum();
            CHECK(inner == doctest::Approx(slope(v, e, options)).epsilon(1e-6));
        }
    }
}

TEST_CASE("identical views have the correlation of the ridge alone") {
    const Views v = views(50, 4, 4);
    const Result<double> r = loss<double>(v.H1, v.H1, with(4, 0));
    CHECK(r.value == doctest::Approx(-4).epsilon(1e-12));
    CHECK(r.G1.norm() < 1e-12);
}

TEST_CASE("float32 agrees with float64, bitwise the same for every number of threads") {
    const Views v = views(700, 33, 40);
    const CorrelationOptions options = with(33, 1e-4);
    const Result<double> exact = loss<double>(v.H1, v.H2, options);
    Result<float> first{};
    for (const int n : {1, 2, 7}) {
        const fastcca::ThreadScope threads(n);
        Result<float> r = loss<float>(v.H1, v.H2, options);
        CHECK((r.G1.cast<double>() - exact.G1).norm() < 1e-4 * exact.G1.norm());
        if (n == 1) first = r;
        CHECK(r.value == first.value);
        CHECK(r.G1 == first.G1);
        CHECK(r.G2 == first.G2);
    }
}

TEST_CASE("a float32 view too ill-conditioned for float32 products is computed in double") {
    Views v = views(400, 6, 6);
    v.H1.col(5) = v.H1.col(0) + 1e-3 * v.H1.col(5);
    const Matrix<double> H1 = v.H1.cast<float>().cast<double>(), H2 = v.H2.cast<float>().cast<double>();
    const Result<double> exact = loss<double>(H1, H2, with(6, 0));
    const Result<float> r = loss<float>(H1, H2, with(6, 0));
    CHECK((r.G1.cast<double>() - exact.G1).norm() < 1e-4 * exact.G1.norm());
}

TEST_CASE("copied outputs, bottlenecks and few rows: value and gradient of the outputs' own space") {
    // A column more, the copy of another scaled by √2 against two equal ones: the same covariance operator.
    const Views v = views(60, 5, 7);
    Views copied = v, scaled = v;
    copied.H1.conservativeResize(60, 6);
    copied.H1.col(5) = v.H1.col(0);
    scaled.H1.col(0) *= std::sqrt(2.0);
    for (const auto objective : {CorrelationObjective::kTrace, CorrelationObjective::kSquares}) {
        const Result<double> one = loss<double>(scaled.H1, v.H2, with(5, 0.01, objective));
        const Result<double> two = loss<double>(copied.H1, v.H2, with(6, 0.01, objective));
        const Result<float> single = loss<float>(copied.H1, v.H2, with(6, 0.01, objective));
        CHECK(two.value == doctest::Approx(one.value).epsilon(1e-12));
        CHECK(single.value == doctest::Approx(one.value).epsilon(1e-5));
        CHECK((two.G2 - one.G2).norm() < 1e-10 * one.G2.norm());
        CHECK((two.G1.row(5) - two.G1.row(0)).norm() < 1e-10 * one.G1.norm());
        CHECK((two.G1.row(0) - one.G1.row(0) / std::sqrt(2.0)).norm() < 1e-10 * one.G1.norm());
    }
    // Fewer rows than columns: rank 4, and correlations of 1 but for the ridge.
    const Views few = views(5, 7, 6);
    const Result<double> r = loss<double>(few.H1, few.H2, with(6, 1e-9));
    CHECK(r.value == doctest::Approx(-4).epsilon(1e-6));
    CHECK(r.G1.norm() < 1e-3);
}

TEST_CASE("what is not positive definite is refused with a reg that helps") {
    const Views v = views(5, 3, 8);
    CHECK_THROWS_WITH_AS(loss<double>(v.H1, v.H2, with(3, 0)),
                         doctest::Contains("H2: the covariance of its 8 columns over 5 rows"),
                         fastcca::NumericalError);
    CHECK(std::isfinite(loss<float>(v.H1, v.H2, with(3, 1e-3)).value));
    Views bad = views(9, 3, 3);
    bad.H2(4, 1) = std::nan("");
    CHECK_THROWS_AS(loss<double>(bad.H1, bad.H2, with(3, 0.1)), fastcca::NonFiniteError);
}
