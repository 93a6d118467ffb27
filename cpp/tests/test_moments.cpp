// The moments pass against long double, for sizes around the widths of vectors, tiles and panels.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/moments/moments.hpp"

using namespace fastcca;

namespace {

template <typename T>
Matrix<T> noise(Index rows, Index cols, std::uint64_t seed) {
    Matrix<T> m(rows, cols);
    for (Index j = 0; j < cols; ++j)
        for (Index i = 0; i < rows; ++i) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            m(i, j) = static_cast<T>(static_cast<double>(seed >> 33) / 2147483648.0 - 0.5) + T(3);
        }
    return m;
}

template <typename T>
void check(const std::vector<MatrixView<T>>& views, const MomentSums& got, double tolerance) {
    Index d = 0;
    for (const auto& v : views) d += v.cols;
    const Index n = views.front().rows;
    Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic> rows(n, d);
    Index column = 0;
    for (const auto& v : views)
        for (Index j = 0; j < v.cols; ++j, ++column)
            for (Index i = 0; i < n; ++i) rows(i, column) = v(i, j);
    rows.rowwise() -= rows.colwise().mean().eval();
    const Matrix<double> expected = (rows.transpose() * rows).template cast<double>();
    REQUIRE(got.n == static_cast<double>(n));
    CHECK((got.scatter - expected).cwiseAbs().maxCoeff() <=
          tolerance * (1e-30 + expected.cwiseAbs().maxCoeff()));
}

}  // namespace

TEST_CASE_TEMPLATE("moments of two views at awkward sizes", T, float, double) {
    const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
    for (const Index p : {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 49})
        for (const Index n : {1, 2, 127, 129, 193, 385}) {
            const Matrix<T> x = noise<T>(n, p, 1), y = noise<T>(n, 50 - p, 2);
            const Matrix<T> by_rows = y.transpose();
            const MatrixView<T> transposed{by_rows.data(), n, y.cols(), by_rows.rows(), 1};
            MomentsAccumulator<T> accumulator(50);
            accumulator.add({view_of(x), transposed});
            check<T>({view_of(x), transposed}, accumulator.finish(), tolerance);
        }
}

TEST_CASE_TEMPLATE("panels in parallel, and rows added in parts", T, float, double) {
    const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
    const Matrix<T> x = noise<T>(300, 333, 1), y = noise<T>(300, 334, 2);
    MomentsAccumulator<T> accumulator(667);
    accumulator.add({view_of(x).middle_rows(0, 131), view_of(y).middle_rows(0, 131)});
    accumulator.add({view_of(x).middle_rows(131, 169), view_of(y).middle_rows(131, 169)});
    check<T>({view_of(x), view_of(y)}, accumulator.finish(), tolerance);
}

TEST_CASE("the thread count changes no bit") {
    const Matrix<double> x = noise<double>(3000, 40, 1);
    MomentSums results[3];
    const int threads[] = {1, 2, 7};
    for (int i = 0; i < 3; ++i) {
        const ThreadScope scope(threads[i]);
        MomentsAccumulator<double> accumulator(40);
        accumulator.add({view_of(x)});
        results[i] = accumulator.finish();
    }
    CHECK(results[0].scatter == results[1].scatter);
    CHECK(results[0].scatter == results[2].scatter);
}

TEST_CASE("weights, empty chunks and errors") {
    Matrix<double> x = noise<double>(200, 3, 1);
    MomentsAccumulator<double> weighted(3), plain(3);
    std::vector<double> w(200, 2.0);
    weighted.add({view_of(x).middle_rows(0, 0)});
    weighted.add({view_of(x)}, w.data());
    plain.add({view_of(x)});
    CHECK(weighted.finish().n == 400);
    CHECK((weighted.finish().scatter - 2 * plain.finish().scatter).cwiseAbs().maxCoeff() < 1e-11);
    CHECK_THROWS_AS(plain.add({view_of(x), view_of(x)}), std::invalid_argument);
    x(150, 1) = std::numeric_limits<double>::quiet_NaN();
    try {
        plain.add({view_of(x)});
        FAIL("a NaN passed");
    } catch (const NonFiniteError& e) {
        CHECK(e.view == 0);
        CHECK(e.row == 150);
        CHECK(e.column == 1);
        CHECK(e.is_nan);
    }
}
