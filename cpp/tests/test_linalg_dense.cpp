// Products, Cholesky, triangular solves and eigenvalues against long double, for sizes around the widths of
// vectors, leaves and tiles.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <type_traits>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/packed_product.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/linalg/transpose.hpp"

using namespace fastcca;

namespace {

using Long = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;

template <typename T>
Matrix<T> random(Index rows, Index cols, std::uint64_t seed) {
    return random_uniform(rows, cols, seed).template cast<T>();
}

template <typename T>
double error(const Matrix<T>& got, const Long& expected) {
    if (expected.size() == 0) return 0.0;
    return static_cast<double>((got.template cast<long double>() - expected).cwiseAbs().maxCoeff());
}

template <typename T>
Long op_of(const Matrix<T>& A, Op op) {
    const Long a = A.template cast<long double>();
    return op == Op::kNone ? a : Long(a.transpose());
}

Matrix<double> positive_definite(Index n, std::uint64_t seed) {
    const Matrix<double> A = random_uniform(n, n, seed);
    Matrix<double> S = A * A.transpose();
    S.diagonal().array() += 0.1 * static_cast<double>(n);
    return S;
}

template <typename T>
void check_products(Index m, Index n, Index k) {
    const double tolerance =
        8.0 * static_cast<double>(k + 4) * static_cast<double>(std::numeric_limits<T>::epsilon());
    for (const Op op_a : {Op::kNone, Op::kTranspose}) {
        for (const Op op_b : {Op::kNone, Op::kTranspose}) {
            const Matrix<T> A = op_a == Op::kNone ? random<T>(m, k, 1) : random<T>(k, m, 1);
            const Matrix<T> B = op_b == Op::kNone ? random<T>(k, n, 2) : random<T>(n, k, 2);
            const Long AB = op_of(A, op_a) * op_of(B, op_b);
            // With β = 0 what lies in C is not read.
            Matrix<T> C = Matrix<T>::Constant(m, n, std::numeric_limits<T>::quiet_NaN());
            gemm<T>(T(2), A, op_a, B, op_b, T(0), C);
            CHECK(error<T>(C, 2 * AB) <= tolerance);
            const Matrix<T> C0 = random<T>(m, n, 3);
            C = C0;
            gemm<T>(T(-1), A, op_a, B, op_b, T(0.5), C);
            CHECK(error<T>(C, op_of(C0, Op::kNone) / 2 - AB) <= tolerance);
        }
        const Matrix<T> A = op_a == Op::kNone ? random<T>(m, k, 1) : random<T>(k, m, 1);
        const Long AA = op_of(A, op_a) * op_of(A, op_a).transpose();
        Matrix<T> C = Matrix<T>::Constant(m, m, std::numeric_limits<T>::quiet_NaN());
        symmetric_product<T>(T(3), A, op_a, T(0), C);
        CHECK(error<T>(C, 3 * AA) <= tolerance);
        CHECK(C == C.transpose());
        // Of a C that is read, only the lower triangle is.
        Matrix<T> S = random<T>(m, m, 4);
        Long expected = op_of(S, Op::kNone);
        for (Index j = 0; j < m; ++j)
            for (Index i = 0; i < j; ++i) expected(i, j) = expected(j, i);
        symmetric_product<T>(T(-1), A, op_a, T(1), S);
        CHECK(error<T>(S, expected - AA) <= tolerance);
    }
}

template <typename T>
void check_cholesky_and_solves(Index n, Index n_rhs) {
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    const Matrix<double> S = positive_definite(n, 5);
    Matrix<double> factor = S;
    factor.triangularView<Eigen::StrictlyUpper>().setConstant(99);  // not read
    REQUIRE(cholesky<double>(factor) == -1);
    CHECK(factor.isLowerTriangular(0));
    const Long exact = op_of(factor, Op::kNone);
    CHECK(error<double>(S, exact * exact.transpose()) <=
          4.0 * std::numeric_limits<double>::epsilon() * static_cast<double>(n) * S.cwiseAbs().maxCoeff());

    const Matrix<T> L = factor.cast<T>();
    const Long l = op_of(L, Op::kNone);

    // Residuals, relative to ‖L‖ ‖X‖: backward stability. What lies above the diagonal is not read.
    Matrix<T> lower = L;
    lower.template triangularView<Eigen::StrictlyUpper>().setConstant(std::numeric_limits<T>::quiet_NaN());
    const double scale = 8.0 * eps * static_cast<double>(n + 4);
    const auto check = [&](auto&& solve, bool left, Op op) {
        const Matrix<T> B = left ? random<T>(n, n_rhs, 6) : random<T>(n_rhs, n, 6);
        Matrix<T> X = B;
        solve(lower, X);
        const Long x = op_of(X, Op::kNone), f = op == Op::kNone ? l : Long(l.transpose());
        const Long product = left ? Long(f * x) : Long(x * f);
        CHECK(error<T>(B, product) <=
              scale * static_cast<double>(l.cwiseAbs().maxCoeff() * x.cwiseAbs().maxCoeff()));
    };
    check([](const Matrix<T>& l_, Matrix<T>& x) { solve_lower<T>(l_, x); }, true, Op::kNone);
    if constexpr (std::is_same_v<T, double>) {
        check([](const Matrix<T>& l_, Matrix<T>& x) { solve_lower_transposed<T>(l_, x); }, true,
              Op::kTranspose);
        check([](const Matrix<T>& l_, Matrix<T>& x) { solve_lower_right<T>(l_, x); }, false, Op::kNone);
        check([](const Matrix<T>& l_, Matrix<T>& x) { solve_lower_transposed_right<T>(l_, x); }, false,
              Op::kTranspose);

        Matrix<T> inverse = L;
        invert_lower<T>(inverse);
        CHECK(inverse.isLowerTriangular(T(0)));
        CHECK(error<T>(Matrix<T>::Identity(n, n), l * op_of(inverse, Op::kNone)) <=
              scale * static_cast<double>(l.cwiseAbs().maxCoeff() * inverse.cwiseAbs().maxCoeff()));
    }
}

// The result of f() with 1, 2 and 7 threads, the same in every bit.
template <typename F>
void check_threads(F&& f) {
    Matrix<double> one;
    for (const int n : {1, 2, 7}) {
        const ThreadScope scope(n);
        const Matrix<double> result = f();
        if (n == 1) one = result;
        CHECK(result == one);
    }
}

}  // namespace

TEST_CASE("products") {
    for (const Index m : {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 129}) {
        check_products<double>(m, 17, 9);
        check_products<float>(m, 5, 33);
    }
    check_products<double>(0, 3, 2);
    check_products<double>(3, 2, 0);       // an empty sum: C ← β C
    check_products<double>(300, 140, 70);  // packed
    check_products<float>(140, 300, 70);
    check_products<double>(1550, 70, 20);  // … in blocks of the result
    check_products<double>(70, 1550, 20);
    check_products<double>(101, 90, 600);  // … and of the sum
    check_products<float>(101, 90, 800);
    check_products<double>(20, 24, 9000);  // a sum in blocks
}

template <typename T>
void check_packed_matrix(Index m, Index n, Index k) {
    using Packed = PackedMatrix<T>;
    const Matrix<T> A = random<T>(m, k, 1), B = random<T>(k, n, 2);
    const Index columns = Packed::packed_columns(n);
    Vector<T> right = Vector<T>::Constant(Packed::packed_size(k, n), std::numeric_limits<T>::quiet_NaN());
    for (Index j = 0; j < n; ++j)
        for (Index i = 0; i < k; ++i) right[Packed::position(i, j, columns)] = B(i, j);
    Matrix<T> C = Matrix<T>::Constant(m, n, std::numeric_limits<T>::quiet_NaN());
    Packed(A).times(right.data(), C);
    CHECK(error<T>(C, op_of(A, Op::kNone) * op_of(B, Op::kNone)) <=
          4.0 * static_cast<double>(k) * static_cast<double>(std::numeric_limits<T>::epsilon()));
}

TEST_CASE("a packed matrix times columns that are packed one by one") {
    for (const Index m : {1, 2, 7, 16, 17, 47, 49, 200})
        for (const Index n : {1, 7, 8, 9, 33}) {
            check_packed_matrix<double>(m, n, 5);
            check_packed_matrix<float>(m, n, 5);
        }
    check_packed_matrix<double>(50, 20, 300);
    check_packed_matrix<float>(50, 20, 400);
}

TEST_CASE_TEMPLATE("transposes of any shape leave their neighbours alone", T, float, double) {
    for (const Index m : {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 48})
        for (const Index n : {0, 1, 2, 5, 8, 9, 16, 30, 33}) {
            const Matrix<T> A = random<T>(m + 2, n, 5);
            Matrix<T> B = Matrix<T>::Constant(n + 3, m + 1, T(-7));
            transpose(A.data() + 1, A.outerStride(), m, n, B.data(), B.outerStride());
            CHECK(B.topLeftCorner(n, m) == A.middleRows(1, m).transpose());
            CHECK((B.bottomRows(3).array() == T(-7)).all());
            CHECK((B.col(m).array() == T(-7)).all());
        }
}

TEST_CASE("products of blocks leave their neighbours alone") {
    const Matrix<double> A = random_uniform(40, 30, 1), B = random_uniform(30, 20, 2);
    Matrix<double> C = Matrix<double>::Zero(50, 40);
    gemm<double>(1.0, A.block(2, 3, 33, 25), Op::kNone, B.block(1, 2, 25, 15), Op::kNone, 0.0,
                 C.block(4, 5, 33, 15));
    const Matrix<double> expected = A.block(2, 3, 33, 25) * B.block(1, 2, 25, 15);
    CHECK((C.block(4, 5, 33, 15) - expected).cwiseAbs().maxCoeff() <= 1e-13);
    C.block(4, 5, 33, 15).setZero();
    CHECK(C.isZero(0.0));
}

TEST_CASE("Cholesky and triangular solves") {
    for (const Index n : {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 65, 191, 193, 400}) {
        check_cholesky_and_solves<double>(n, 3);
        check_cholesky_and_solves<float>(n, n < 100 ? 33 : 2);
    }
    check_cholesky_and_solves<double>(250, 300);
    Matrix<double> none(33, 0);
    solve_lower<double>(Matrix<double>::Identity(33, 33), none);
}

TEST_CASE("Cholesky names the pivot that fails") {
    for (const Index n : {1, 5, 33, 200, 450}) {
        for (const Index bad : {Index{0}, n / 2, n - 1}) {
            for (const double value : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
                Matrix<double> S = Matrix<double>::Identity(n, n);
                S(bad, bad) = value;
                CHECK(cholesky<double>(S) == bad);
            }
        }
    }
    Matrix<double> empty(0, 0);
    CHECK(cholesky<double>(empty) == -1);
}

TEST_CASE("eigendecomposition") {
    for (const Index n : {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 65, 130, 260}) {
        const double tolerance = 1e-15 * static_cast<double>(20 + n);
        const auto check = [&](const Matrix<double>& S) {
            const Eigendecomposition eigen = eigendecomposition(S);
            const double scale = std::max(S.norm(), std::numeric_limits<double>::min());
            const Matrix<double>& V = eigen.vectors;
            CHECK((S * V - V * eigen.values.asDiagonal()).norm() <= tolerance * scale);
            CHECK((V.transpose() * V - Matrix<double>::Identity(n, n)).norm() <= 8.0 * tolerance);
            for (Index i = 1; i < n; ++i) CHECK(eigen.values[i - 1] <= eigen.values[i]);
            return eigen.values;
        };
        const Matrix<double> A = random_uniform(n, n, 7), S = A + A.transpose();
        check(S);
        check(1e-150 * S);
        check(1e150 * S);
        check(Matrix<double>::Zero(n, n));
        check(Matrix<double>::Identity(n, n));
        // Rank one, and eigenvalues in two clusters.
        check(A.col(0) * A.col(0).transpose());
        Matrix<double> H =
            Matrix<double>::Identity(n, n) - (2.0 / A.col(0).squaredNorm()) * A.col(0) * A.col(0).transpose();
        const Vector<double> signs = check(H);
        CHECK(std::abs(signs[0] + 1.0) <= tolerance);
        for (Index i = 1; i < n; ++i) CHECK(std::abs(signs[i] - 1.0) <= tolerance);
        // 2 on the diagonal, −1 beside it: λ_j = 4 sin²(jπ / (2n + 2)).
        Matrix<double> D = 2.0 * Matrix<double>::Identity(n, n);
        D.diagonal(-1).setConstant(-1.0);
        D.diagonal(1).setConstant(-1.0);
        const Vector<double> values = check(D);
        for (Index j = 1; j <= n; ++j) {
            const double s =
                std::sin(static_cast<double>(j) * 3.14159265358979324 / (2.0 * static_cast<double>(n) + 2.0));
            CHECK(std::abs(values[j - 1] - 4.0 * s * s) <= 4.0 * tolerance);
        }
    }
    CHECK(eigendecomposition(Matrix<double>(0, 0)).values.size() == 0);
    const Matrix<double> nan = Matrix<double>::Constant(5, 5, std::nan(""));
    CHECK_THROWS_AS(eigendecomposition(nan), NumericalError);
}

TEST_CASE("leading eigenvectors") {
    for (const Index n : {1, 5, 33, 130, 260}) {
        const Matrix<double> A = random_uniform(n, n, 7);
        for (const Matrix<double>& S :
             {Matrix<double>(A + A.transpose()), Matrix<double>(A.col(0) * A.col(0).transpose()),
              Matrix<double>(Matrix<double>::Zero(n, n))}) {
            const Vector<double> values = eigendecomposition(S).values;
            for (const Index wanted : {Index{0}, Index{1}, n / 3, n}) {
                const Eigendecomposition leading = leading_eigenvectors(S, wanted);
                const Matrix<double>& V = leading.vectors;
                const double tolerance = 1e-15 * static_cast<double>(20 + n);
                REQUIRE(V.cols() == wanted);
                CHECK((leading.values - values).norm() <= tolerance * S.norm());
                CHECK((S * V - V * values.tail(wanted).asDiagonal()).norm() <= tolerance * S.norm());
                CHECK((V.transpose() * V - Matrix<double>::Identity(wanted, wanted)).norm() <= tolerance);
            }
        }
    }
}

TEST_CASE("eigendecomposition of tridiagonal matrices that are hard to divide") {
    for (const Index n : {63, 64, 65, 210, 400}) {
        const Matrix<double> noise = random_uniform(n, 2, 9);
        const double tolerance = 1e-15 * static_cast<double>(20 + n);
        for (int kind = 0; kind < 9; ++kind) {
            Matrix<double> T = Matrix<double>::Zero(n, n);
            for (Index i = 0; i < n; ++i) {
                const double x = static_cast<double>(i) / static_cast<double>(n);
                double a = 0.0, b = 1.0;  // on the diagonal, beside it
                if (kind == 0)
                    a = std::abs(static_cast<double>(i % 21) - 10.0),
                    b = i % 21 == 20 ? 1e-8 : 1.0;                                   // Wilkinson's
                if (kind == 1) a = std::pow(10.0, -16.0 * x), b = 0.1 * a;           // graded
                if (kind == 2) a = std::pow(10.0, 16.0 * (x - 1.0)), b = 0.1 * a;    // and the other way
                if (kind == 3) a = noise(i, 0), b = i % 7 == 0 ? 0.0 : noise(i, 1);  // falls apart
                if (kind == 4) a = 1.0, b = 1e-14 * noise(i, 1);  // all but a multiple of I
                if (kind == 5) a = i % 2 == 0 ? 1.0 : -1.0, b = 1e-7;
                if (kind == 6) a = 1.0 + 1e-12 * noise(i, 0), b = i == n / 2 - 1 ? 1.0 : 1e-12;
                if (kind == 7) a = noise(i, 0), b = -std::pow(10.0, -12.0 * std::abs(noise(i, 1)));
                if (kind == 8)
                    a = static_cast<double>(i / 20), b = i % 20 == 19 ? 1e-3 : 0.0;  // clusters, coupled
                T(i, i) = a;
                if (i + 1 < n) T(i + 1, i) = T(i, i + 1) = b;
            }
            const Eigendecomposition eigen = eigendecomposition(T);
            const Matrix<double>& V = eigen.vectors;
            CAPTURE(n);
            CAPTURE(kind);
            CHECK((T * V - V * eigen.values.asDiagonal()).norm() <= tolerance * T.norm());
            CHECK((V.transpose() * V - Matrix<double>::Identity(n, n)).norm() <= tolerance);
            CHECK(std::abs(eigen.values.sum() - T.trace()) <=
                  tolerance * T.norm() * std::sqrt(static_cast<double>(n)));
            for (Index i = 1; i < n; ++i) CHECK(eigen.values[i - 1] <= eigen.values[i]);
        }
    }
}

TEST_CASE("extreme eigenvalues") {
    for (const Index n : {1, 2, 3, 33, 300}) {
        for (const double smallest : {1.0, 1e-3, 1e-10}) {
            // A rotated diagonal with a known spectrum.
            const Matrix<double> V = eigendecomposition(positive_definite(n, 8)).vectors;
            Vector<double> values(n);
            for (Index i = 0; i < n; ++i) {
                values[i] =
                    n == 1 ? 1.0 : std::pow(smallest, static_cast<double>(i) / static_cast<double>(n - 1));
            }
            Matrix<double> L = V * values.asDiagonal() * V.transpose();
            REQUIRE(cholesky<double>(L) == -1);
            const Extremes found = extreme_eigenvalues(L);
            const double least = n == 1 ? 1.0 : smallest;
            CHECK(found.largest <= 1.0 + 1e-6);
            CHECK(found.largest >= 0.5);
            CHECK(found.smallest >= 0.999 * least);
            CHECK(found.smallest <= 2.5 * least);
        }
    }
}

TEST_CASE("any number of threads gives the same bits") {
    const Matrix<double> A = random_uniform(700, 300, 1), tall = random_uniform(20000, 60, 2);
    const Matrix<double> S = positive_definite(450, 3);
    check_threads([&] {
        Matrix<double> C(300, 300);
        gemm<double>(1.0, A, Op::kTranspose, A, Op::kNone, 0.0, C);
        return C;
    });
    check_threads([&] {
        Matrix<double> C(60, 60);
        gemm<double>(1.0, tall, Op::kTranspose, tall, Op::kNone, 0.0, C);
        return C;
    });
    check_threads([&] {
        Matrix<double> C(700, 700);
        symmetric_product<double>(1.0, A, Op::kNone, 0.0, C);
        return C;
    });
    check_threads([&] {
        Matrix<double> L = S;
        CHECK(cholesky<double>(L) == -1);
        Matrix<double> X = random_uniform(450, 500, 4);
        solve_lower<double>(L, X);
        solve_lower_transposed<double>(L, X);
        return X;
    });
    check_threads([&] { return eigendecomposition(S).vectors; });
}
