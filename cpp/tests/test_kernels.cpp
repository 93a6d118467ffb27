#include <doctest/doctest.h>

#include <Eigen/Eigenvalues>
#include <cmath>
#include <limits>
#include <memory>
#include <set>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/kernels/dual.hpp"
#include "fastcca/kernels/features.hpp"
#include "fastcca/kernels/incomplete_cholesky.hpp"
#include "fastcca/linalg/random.hpp"

namespace {

using namespace fastcca;

const KernelSpec kSpecs[] = {{KernelType::kRbf, 0.3, 3, 1.0},
                             {KernelType::kLaplacian, 0.3, 3, 1.0},
                             {KernelType::kPolynomial, 0.3, 3, 1.0},
                             {KernelType::kLinear, 1.0, 3, 1.0},
                             {KernelType::kCosine, 1.0, 3, 1.0}};

double slow_kernel(const KernelSpec& spec, const Vector<double>& x, const Vector<double>& z) {
    switch (spec.type) {
        case KernelType::kRbf:
            return std::exp(-spec.gamma * (x - z).squaredNorm());
        case KernelType::kLaplacian:
            return std::exp(-spec.gamma * (x - z).lpNorm<1>());
        case KernelType::kPolynomial:
            return std::pow(spec.gamma * x.dot(z) + spec.coef0, spec.degree);
        case KernelType::kCosine:
            return x.norm() * z.norm() > 0 ? x.dot(z) / (x.norm() * z.norm()) : 0.0;
        default:
            return x.dot(z);
    }
}

template <typename T>
double tolerance() {
    return 100 * static_cast<double>(std::numeric_limits<T>::epsilon());
}

Matrix<double> centred(Matrix<double> K) {
    K.rowwise() -= K.colwise().mean().eval();
    K.colwise() -= K.rowwise().mean().eval();
    return K;
}

}  // namespace

TEST_CASE_TEMPLATE("kernels match the definition", T, float, double) {
    for (const KernelSpec& spec : kSpecs)
        for (const Index d : {1, 3, 17, 33})
            for (const Index n : {1, 2, 15, 16, 31, 300}) {
                const Index m = n / 2 + 1;
                const Matrix<T> Z = random_uniform(m, d, 1).template cast<T>();
                Matrix<T> X = random_uniform(n, d, 2).template cast<T>();
                X.row(0).setZero();
                const Matrix<T> K = kernel_matrix<T>(spec, view_of(Z), view_of(X));
                const Matrix<T> S = kernel_matrix<T>(spec, view_of(X));
                for (Index i = 0; i < n; i += 7) {
                    const Vector<double> x = X.row(i).template cast<double>().transpose();
                    for (Index j = 0; j < m; j += 3) {
                        const Vector<double> z = Z.row(j).template cast<double>().transpose();
                        const double expected = slow_kernel(spec, x, z);
                        CHECK(std::abs(static_cast<double>(K(j, i)) - expected) <
                              tolerance<T>() * (1 + std::abs(expected)));
                    }
                    for (Index j = 0; j < n; j += 5) {
                        const Vector<double> z = X.row(j).template cast<double>().transpose();
                        const double expected = slow_kernel(spec, x, z);
                        CHECK(std::abs(static_cast<double>(S(j, i)) - expected) <
                              tolerance<T>() * (1 + std::abs(expected)));
                        CHECK(S(i, j) == S(j, i));
                    }
                }
            }
}

TEST_CASE("non-finite values are reported where they are") {
    Matrix<double> X = random_uniform(600, 4);
    X(513, 2) = std::numeric_limits<double>::infinity();
    const Matrix<double> Z = random_uniform(9, 4);
    try {
        (void)kernel_matrix<double>(kSpecs[0], view_of(Z), view_of(X));
        FAIL("no error");
    } catch (const NonFiniteError& e) {
        CHECK(e.row == 513);
        CHECK(e.column == 2);
        CHECK(!e.is_nan);
    }
}

TEST_CASE_TEMPLATE("the pivoted factor reproduces the kernel at its pivots", T, float, double) {
    for (const Pivoting pivoting : {Pivoting::kGreedy, Pivoting::kRandom, Pivoting::kUniform})
        for (const Index n : {1, 3, 40, 1100}) {
            const Matrix<T> X = random_uniform(n, 5).template cast<T>();
            const Matrix<double> K =
                kernel_matrix<double>(kSpecs[1], view_of(Matrix<double>(X.template cast<double>())));
            PivotedCholeskyOptions options;
            options.rank = 37;
            options.tol = 0;
            options.pivoting = pivoting;
            options.block = 8;
            const auto kernel = std::make_shared<BuiltinColumns<T>>(kSpecs[1], view_of(X));
            PivotedCholesky<T> cholesky(kernel, options);
            while (cholesky.step()) {
            }
            const Index m = cholesky.rank();
            CHECK(m == std::min<Index>(n, 37));
            const Matrix<double> G = cholesky.features().topRows(m).template cast<double>();
            std::set<Index> distinct;
            for (const Index pivot : cholesky.pivots()) {
                distinct.insert(pivot);
                CHECK((G.transpose() * G.col(pivot) - K.col(pivot)).cwiseAbs().maxCoeff() <
                      30 * tolerance<T>());
            }
            CHECK(static_cast<Index>(distinct.size()) == m);
            const double left = static_cast<double>(n) - G.squaredNorm();
            CHECK(std::abs(cholesky.residual_trace().back() - left) <
                  tolerance<T>() * static_cast<double>(n));
        }
}

TEST_CASE("a kernel that is not positive semidefinite is refused") {
    const Matrix<double> K = random_uniform(50, 50).selfadjointView<Eigen::Lower>();
    const auto gather = [&](const std::vector<Index>& rows) {
        Matrix<double> out(static_cast<Index>(rows.size()), 50);
        for (Index i = 0; i < out.rows(); ++i) out.row(i) = K.row(rows[static_cast<std::size_t>(i)]);
        return out;
    };
    const auto square = [&](const std::vector<Index>& rows) {
        const Matrix<double> wide = gather(rows);
        Matrix<double> out(wide.rows(), wide.rows());
        for (Index j = 0; j < out.cols(); ++j) out.col(j) = wide.col(rows[static_cast<std::size_t>(j)]);
        return out;
    };
    const Vector<double> diagonal = K.diagonal().cwiseAbs();
    PivotedCholesky<double> cholesky(std::make_shared<FunctionColumns<double>>(diagonal, gather, square), {});
    CHECK_THROWS_AS(while (cholesky.step()){}, NumericalError);
}

TEST_CASE_TEMPLATE("moments of features are those of the features", T, float, double) {
    bool late_x = false, late_y = false;
    SUBCASE("each row's features") {}
    SUBCASE("those of y from kernel values at the end") { late_y = true; }
    SUBCASE("those of both") { late_x = late_y = true; }
    const Index n = 2500, p = 4, q = 3, mx = 20, my = 13;
    const Matrix<T> X = random_uniform(n, p, 1).template cast<T>(),
                    Y = random_uniform(n, q, 2).template cast<T>();
    const auto map = [](const Matrix<T>& data, Index m, bool late) {
        const Matrix<T> points = data.topRows(m);
        Matrix<double> L =
            kernel_matrix<double>(kSpecs[0], view_of(Matrix<double>(points.template cast<double>())));
        REQUIRE(cholesky<double>(L) < 0);
        return FeatureMap<T>(Landmarks<T>(kSpecs[0], view_of(points)), L, late);
    };
    const FeatureMap<T> x = map(X, mx, false), y = map(Y, my, false);
    Matrix<T> gx(mx, n), gy(my, n);
    x.apply(view_of(X), gx);
    y.apply(view_of(Y), gy);
    const Vector<double> w = random_uniform(n, 1, 3).array().abs().matrix();
    FeatureMoments<T> moments(map(X, mx, late_x), map(Y, my, late_y), Vector<T>::Constant(p, T(0.25)),
                              Vector<T>::Zero(q));
    for (const auto& [first, count] : {std::pair<Index, Index>{0, 2100}, {2100, 400}})
        moments.add({view_of(X).middle_rows(first, count), view_of(X).middle_rows(first, count)},
                    {view_of(Y).middle_rows(first, count), view_of(Y).middle_rows(first, count)},
                    w.data() + first);

    Matrix<double> G(mx + my, n), C(p + q, n);
    G << gx.template cast<double>(), gy.template cast<double>();
    C << (X.template cast<double>().array() - 0.25).matrix().transpose(),
        Y.template cast<double>().transpose();
    const Vector<double> mean = G * w / w.sum();
    Matrix<double> shifted = G;
    shifted.colwise() -= mean;
    const Matrix<double> scatter = shifted * w.asDiagonal() * shifted.transpose();
    const auto [sums, columns, traces] = moments.finish();
    const double scale = tolerance<T>() * static_cast<double>(n);
    CHECK((sums.scatter - scatter).cwiseAbs().maxCoeff() < scale);
    CHECK((sums.shift + sums.offset - mean).cwiseAbs().maxCoeff() < tolerance<T>());
    CHECK((columns.cross - G * w.asDiagonal() * C.transpose()).cwiseAbs().maxCoeff() < scale);
    CHECK((columns.sum - C * w).cwiseAbs().maxCoeff() < scale);
    CHECK((columns.square - C.cwiseAbs2() * w).cwiseAbs().maxCoeff() < scale);
    for (const std::size_t v : {0, 1}) {
        const auto held = (v == 0 ? gx : gy).template cast<double>().colwise().squaredNorm().dot(w);
        CHECK(std::abs(traces[v].whole - w.sum()) < scale);
        CHECK(std::abs(traces[v].left - (w.sum() - held)) < scale);
    }
}

TEST_CASE("the dual solver solves the eigenproblem") {
    const Index n = 300, k = 4;
    const Matrix<double> Z = random_uniform(n, 2, 5);
    Matrix<double> X = random_uniform(n, 6, 1), Y = random_uniform(n, 5, 2);
    X.leftCols(2) = Z;
    Y.leftCols(2) = Z.cwiseAbs2();
    const Matrix<double> Kx = kernel_matrix<double>(kSpecs[0], view_of(X)),
                         Ky = kernel_matrix<double>(kSpecs[0], view_of(Y));
    const Matrix<double> Cx = centred(Kx), Cy = centred(Ky), I = Matrix<double>::Identity(n, n);
    for (const bool bach_jordan : {false, true}) {
        DualOptions options;
        options.bach_jordan = bach_jordan;
        options.cx = 1.5;
        options.cy = 0.7;
        options.components = k;
        Matrix<double> a = Kx, b = Ky;
        const DualSolution s = solve_dual(a, b, options);
        REQUIRE(s.converged);
        const auto metric = [&](const Matrix<double>& K, double c) -> Matrix<double> {
            if (bach_jordan) return (K + c * I) * (K + c * I);
            return K * K + c * K;
        };
        // αᵀMα = (N - 1) I in both views, α₁ᵀK₁K₂α₂ = (N - 1) diag(ρ), and M₁α₁ρ = K₁K₂α₂: a stationary
        // point.
        const Matrix<double> Mx = metric(Cx, 1.5), My = metric(Cy, 0.7);
        const Matrix<double> D = s.singular_values.asDiagonal();
        const auto unit = Matrix<double>::Identity(k, k) * static_cast<double>(n - 1);
        CHECK((s.x_coefficients.transpose() * Mx * s.x_coefficients - unit).cwiseAbs().maxCoeff() < 1e-7);
        CHECK((s.y_coefficients.transpose() * My * s.y_coefficients - unit).cwiseAbs().maxCoeff() < 1e-7);
        CHECK((centred(Mx) * s.x_coefficients * D - Cx * Cy * s.y_coefficients).cwiseAbs().maxCoeff() < 1e-6);
        CHECK((Cx * s.x_coefficients - s.x_scores).cwiseAbs().maxCoeff() < 1e-9);
        CHECK((Cy * s.y_coefficients - s.y_scores).cwiseAbs().maxCoeff() < 1e-9);
        CHECK(s.singular_values[0] > s.singular_values[k - 1]);
    }
    // A copy of a row is no landmark of its own.
    Matrix<double> copies = X;
    copies.row(7) = copies.row(3);
    Matrix<double> a = kernel_matrix<double>(kSpecs[0], view_of(copies)), b = Ky;
    DualOptions options;
    options.cx = options.cy = 1;
    CHECK(!solve_dual(a, b, options).full_rank);
}

TEST_CASE("results do not depend on the number of threads") {
    const Matrix<float> X = random_uniform(1500, 6).cast<float>();
    Matrix<float> expected;
    for (const int n_threads : {1, 2, 7}) {
        const ThreadScope scope(n_threads);
        PivotedCholeskyOptions options;
        options.rank = 60;
        PivotedCholesky<float> cholesky(std::make_shared<BuiltinColumns<float>>(kSpecs[0], view_of(X)),
                                        options);
        while (cholesky.step()) {
        }
        const Matrix<float> G = cholesky.features().topRows(cholesky.rank());
        if (expected.size() == 0) expected = G;
        CHECK((G.array() == expected.array()).all());
    }
}
