// Singular values, QR, roots: what only C++ can ask for. (Values against NumPy and mpmath:
// tests/test_linalg.py.)
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/largest_eigenvalues.hpp"
#include "fastcca/linalg/qr.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/linalg/roots.hpp"
#include "fastcca/linalg/svd.hpp"

using namespace fastcca;

namespace {

double departure(const Matrix<double>& Q) {
    return (Q.transpose() * Q - Matrix<double>::Identity(Q.cols(), Q.cols())).norm();
}

void check_svd(const Matrix<double>& A, const Svd& svd, double tolerance) {
    const double scale = svd.values.size() > 0 ? svd.values[0] : 0.0;
    const auto S = svd.values.asDiagonal();
    CHECK((A * svd.V - svd.U * S).colwise().norm().maxCoeff() <= tolerance * scale);
    CHECK((A.transpose() * svd.U - svd.V * S).colwise().norm().maxCoeff() <= tolerance * scale);
    CHECK(departure(svd.U) <= 1e-13);
    CHECK(departure(svd.V) <= 1e-13);
}

// The rows' order changes nothing in R, whose diagonal is positive: A P for a permutation P of rows.
void check_qr(const Matrix<double>& A) {
    const Index n = A.rows(), d = A.cols(), m = std::min(n, d);
    const ThinQr qr = thin_qr(A);
    REQUIRE(qr.Q.rows() == n);
    REQUIRE(qr.Q.cols() == m);
    REQUIRE(qr.R.rows() == m);
    REQUIRE(qr.R.cols() == d);
    const double scale = 1e-15 * std::sqrt(static_cast<double>(n + d)) * std::max(A.norm(), 1e-300);
    CHECK((qr.Q * qr.R - A).norm() <= 8.0 * scale);
    CHECK(departure(qr.Q) <= 1e-15 * static_cast<double>(20 + 4 * d));
    CHECK(qr.R.isUpperTriangular(0.0));
    CHECK((qr.R.diagonal().array() >= 0.0).all());
    const Matrix<double> R = qr_r(A);
    CHECK(R.isUpperTriangular(0.0));
    CHECK((R.diagonal().array() >= 0.0).all());
    // RᵀR = AᵀA
    CHECK((R.transpose() * R - A.transpose() * A).norm() <= 8.0 * scale * A.norm());
}

Matrix<double> orthonormal(Index n, Index k, std::uint64_t seed) {
    return thin_qr(random_uniform(n, k, seed)).Q;
}

}  // namespace

TEST_CASE("QR of awkward shapes") {
    for (const Index n : {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 65, 130})
        for (const Index d : {1, 2, 7, 8, 9, 16, 33, 64, 65, 130}) check_qr(random_uniform(n, d, 1));
    check_qr(random_uniform(2047, 3, 2));
    check_qr(random_uniform(2048, 3, 2));   // two blocks of rows
    check_qr(random_uniform(20001, 5, 3));  // two groups of blocks
    check_qr(random_uniform(3000, 200, 4));
    check_qr(Matrix<double>::Zero(40, 7));
    check_qr(Matrix<double>::Identity(70, 70));
    CHECK(thin_qr(Matrix<double>(5, 0)).Q.cols() == 0);
    CHECK(thin_qr(Matrix<double>(0, 5)).R.rows() == 0);
}

TEST_CASE("QR of matrices without full rank") {
    Matrix<double> A = random_uniform(6000, 40, 5);
    A.col(3) = A.col(1);
    A.col(7).setZero();
    A.col(39) = A.leftCols(5) * Vector<double>::Ones(5);
    check_qr(A);
    A.topRows(4000).setZero();
    check_qr(A);
}

TEST_CASE("QR refuses to overwrite a wide matrix") {
    Matrix<double> A(2, 3);
    CHECK_THROWS_AS(qr_in_place(A), std::invalid_argument);
}

TEST_CASE("the block Krylov iteration converges by itself where values decay") {
    const Index p = 500, q = 450;
    const Matrix<double> U = orthonormal(p, q, 1), V = orthonormal(q, q, 2);
    for (const int kind : {0, 1, 2}) {
        Vector<double> s(q);
        for (Index i = 0; i < q; ++i) {
            s[i] = kind == 0   ? std::pow(0.9, static_cast<double>(i))
                   : kind == 1 ? (i < 6 ? 2.0 : 0.1)
                               : (i < 3 ? 1.0 : 0.0);
        }
        const Matrix<double> A = U * s.asDiagonal() * V.transpose();
        // The matrix itself, which the full decomposition would ask for, is never formed.
        Index products = 0, widest = 0;
        const LinearOperator op{p, q,
                                [&](ConstRef<double> X) -> Matrix<double> {
                                    ++products;
                                    widest = std::max(widest, X.cols());
                                    return A * X;
                                },
                                [&](ConstRef<double> X) -> Matrix<double> { return A.transpose() * X; }};
        const Svd svd = truncated_svd(op, 8);
        CHECK(widest < q);
        CHECK(products >= 3);
        check_svd(A, svd, 2e-12);
        CHECK((svd.values - s.head(8)).cwiseAbs().maxCoeff() <= 1e-13 * s[0]);
    }
}

TEST_CASE("an operator whose values do not decay is decomposed whole") {
    const Matrix<double> A =
        orthonormal(410, 400, 3) * Vector<double>::LinSpaced(400, 1.0, 0.99).asDiagonal();
    const LinearOperator op{410, 400, [&](ConstRef<double> X) -> Matrix<double> { return A * X; },
                            [&](ConstRef<double> X) -> Matrix<double> { return A.transpose() * X; }};
    const Svd svd = truncated_svd(op, 5);
    check_svd(A, svd, 1e-12);
    CHECK((svd.values - Vector<double>::LinSpaced(400, 1.0, 0.99).head(5)).cwiseAbs().maxCoeff() <= 1e-13);
}

TEST_CASE("singular values: k and finiteness") {
    const Matrix<double> A = random_uniform(6, 4, 4);
    CHECK(truncated_svd(A, 0).values.size() == 0);
    CHECK_THROWS_AS(truncated_svd(A, 5), std::invalid_argument);
    CHECK_THROWS_AS(truncated_svd(A, -1), std::invalid_argument);
    CHECK(full_svd(Matrix<double>(0, 3)).values.size() == 0);
    CHECK_THROWS_AS(full_svd(Matrix<double>::Constant(3, 3, std::nan(""))), NumericalError);
    CHECK_THROWS_AS(polar(Matrix<double>::Constant(3, 3, std::nan(""))), NumericalError);
    CHECK_THROWS_AS(inverse_sqrt(Matrix<double>::Constant(3, 3, std::nan("")), 0.0), NumericalError);
    CHECK(polar(Matrix<double>(0, 0)).size() == 0);
    CHECK(inverse_sqrt(Matrix<double>(0, 0), 0.0).size() == 0);
}

TEST_CASE("decompositions give the same bits with any number of threads") {
    const Matrix<double> A = random_uniform(3000, 130, 5), B = random_uniform(200, 180, 6);
    const Matrix<double> C = random_uniform(450, 9, 7) * random_uniform(9, 420, 8);
    Matrix<double> first[4];
    for (const int n : {1, 2, 7}) {
        const ThreadScope scope(n);
        const ThinQr qr = thin_qr(A);
        const Matrix<double> results[] = {qr.Q, qr_r(A), full_svd(B).U, truncated_svd(C, 4).V};
        for (int i = 0; i < 4; ++i) {
            if (n == 1) first[i] = results[i];
            CHECK(results[i] == first[i]);
        }
    }
}

TEST_CASE("largest eigenvalues of a stack") {
    for (const Index n : {1, 2, 3, 9, 40})
        for (const Index count : {1, 7, 8, 17}) {
            Matrix<double> stack(count, n * n);
            Vector<double> expected(count);
            for (Index i = 0; i < count; ++i) {
                const Matrix<double> A = random_uniform(n, n, 11 + static_cast<std::uint64_t>(i));
                Matrix<double> S = A + A.transpose();
                if (i == 3) S.setZero();
                if (i == 4) S.setOnes();
                // Of low rank: what is left after some steps is the rounding of rounding.
                if (i > 4 && i % 2 == 0) S = A.leftCols(1) * A.leftCols(1).transpose();
                if (i > 4 && i % 3 == 0) S = A.leftCols(n / 2) * A.leftCols(n / 2).transpose();
                stack.row(i) = Eigen::Map<const Eigen::RowVectorXd>(S.data(), n * n);
                expected[i] = eigendecomposition(S).values[n - 1];
            }
            const Vector<double> found = largest_eigenvalues(view_of(stack), n);
            CHECK((found - expected).cwiseAbs().maxCoeff() <= 1e-14 * static_cast<double>(n));
        }
}
