#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/hinge.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/moments/moments.hpp"

using fastcca::HingeLoss;
using fastcca::HingeProblem;
using fastcca::HingeSimilarity;
using fastcca::HingeValue;
using fastcca::Index;
using fastcca::Matrix;

namespace {

constexpr HingeLoss kLosses[] = {HingeLoss::kSum,  HingeLoss::kWorst,   HingeLoss::kSemiHard,
                                 HingeLoss::kRank, HingeLoss::kSampled, HingeLoss::kSoftmax};

// Samples as columns: the memory of a row-major view.
template <typename T>
struct Data {
    Matrix<T> Z, U;
    std::vector<Index> y;

    Data(Index n, Index d, Index n_nodes) {
        const Matrix<double> u = fastcca::random_uniform(d, n_nodes, 1);
        Matrix<double> z = 0.7 * fastcca::random_uniform(d, n, 2);
        for (Index i = 0; i < n; ++i) {
            y.push_back((7 * i + i / 3) % n_nodes);
            z.col(i) += u.col(y.back());
        }
        Z = z.cast<T>();
        U = u.cast<T>();
    }
    HingeProblem<T> problem(HingeLoss loss = HingeLoss::kSum, double margin = 0.8) const {
        HingeProblem<T> p;
        p.Z = {Z.data(), Z.cols(), Z.rows(), Z.rows(), 1};
        p.U = {U.data(), U.cols(), U.rows(), U.rows(), 1};
        p.y = y.data();
        p.weight = 1.0 / static_cast<double>(Z.cols());
        p.margin = margin;
        p.loss = loss;
        return p;
    }
};

template <typename T>
struct Result {
    HingeValue total;
    Matrix<T> GZ, GU;
};

template <typename T>
Result<T> loss(const HingeProblem<T>& p) {
    Result<T> r{{}, Matrix<T>(p.Z.cols, p.Z.rows), Matrix<T>(p.U.cols, p.U.rows)};
    r.total = fastcca::hinge_loss(p, r.GZ.data(), r.GU.data());
    return r;
}

// Σ_i Σ_c [Δ + ‖z − u_y‖² − ‖z − u_c‖²]₊, one after the other.
Result<double> slow_sum(const Data<double>& data, const HingeProblem<double>& p) {
    Result<double> r{{}, Matrix<double>::Zero(p.Z.cols, p.Z.rows), Matrix<double>::Zero(p.U.cols, p.U.rows)};
    for (Index i = 0; i < p.Z.rows; ++i) {
        const Index y = p.y[i];
        const auto z = data.Z.col(i), u_y = data.U.col(y);
        for (Index c = 0; c < p.U.rows; ++c) {
            const auto u_c = data.U.col(c);
            const double v = p.margin + (z - u_y).squaredNorm() - (z - u_c).squaredNorm();
            if (c == y || v <= 0) continue;
            r.total.value += p.weight * v;
            ++r.total.violations;
            r.GZ.col(i) += 2 * p.weight * (u_c - u_y);
            r.GU.col(y) += 2 * p.weight * (u_y - z);
            r.GU.col(c) += 2 * p.weight * (z - u_c);
        }
    }
    return r;
}

}  // namespace

TEST_CASE("the summed hinge loss is what its formula says") {
    for (const Index n : {1, 2, 7, 16, 33, 150})
        for (const Index d : {1, 5, 16, 31})
            for (const Index n_nodes : {1, 2, 15, 17, 63, 300}) {
                CAPTURE(n);
                CAPTURE(d);
                CAPTURE(n_nodes);
                const Data<double> data(n, d, n_nodes);
                const HingeProblem<double> p = data.problem();
                const Result<double> r = loss(p), slow = slow_sum(data, p);
                CHECK(r.total.value == doctest::Approx(slow.total.value).epsilon(1e-12));
                CHECK(r.total.violations == slow.total.violations);
                CHECK((r.GZ - slow.GZ).norm() <= 1e-12 * (1 + slow.GZ.norm()));
                CHECK((r.GU - slow.GU).norm() <= 1e-12 * (1 + slow.GU.norm()));
            }
}

TEST_CASE("gradients of the hinge losses equal difference quotients") {
    for (const auto similarity : {HingeSimilarity::kEuclidean, HingeSimilarity::kCosine})
        for (const HingeLoss kind :
             {HingeLoss::kSum, HingeLoss::kWorst, HingeLoss::kSemiHard, HingeLoss::kSoftmax}) {
            Data<double> data(12, 5, 9);
            HingeProblem<double> p = data.problem(kind);
            p.similarity = similarity;
            const Result<double> r = loss(p);
            const Matrix<double> E = fastcca::random_uniform(5, 12, 3), F = fastcca::random_uniform(5, 9, 4);
            const Matrix<double> Z = data.Z, U = data.U;
            const auto at = [&](double s) {
                data.Z = Z + s * E;
                data.U = U + s * F;
                HingeProblem<double> moved = data.problem(kind);
                moved.similarity = similarity;
                return fastcca::hinge_loss<double>(moved, nullptr, nullptr).value;
            };
            const double slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            CHECK(r.GZ.cwiseProduct(E).sum() + r.GU.cwiseProduct(F).sum() ==
                  doctest::Approx(slope).epsilon(1e-6));
        }
}

TEST_CASE("a table that lists all others gives what no table gives") {
    const Index n_nodes = 21;
    const Data<double> data(300, 6, n_nodes);
    std::vector<Index> class_start{0}, positives, negative_start{0}, negatives;
    for (Index c = 0; c < n_nodes; ++c) {
        positives.push_back(c);
        for (Index k = 0; k < n_nodes; ++k)
            if (k != c) negatives.push_back(k);
        class_start.push_back(c + 1);
        negative_start.push_back(static_cast<Index>(negatives.size()));
    }
    const fastcca::ConstraintTable table{n_nodes, class_start.data(), positives.data(), negative_start.data(),
                                         negatives.data()};
    for (const HingeLoss kind : kLosses) {
        HingeProblem<double> p = data.problem(kind);
        const Result<double> flat = loss(p);
        p.table = &table;
        const Result<double> listed = loss(p);
        CHECK(listed.total.value == doctest::Approx(flat.total.value).epsilon(1e-12));
        CHECK(listed.total.violations == flat.total.violations);
        CHECK((listed.GZ - flat.GZ).norm() <= 1e-12 * flat.GZ.norm());
        CHECK((listed.GU - flat.GU).norm() <= 1e-12 * flat.GU.norm());
    }
}

TEST_CASE("hinge losses in float32 agree with float64, bitwise the same for every number of threads") {
    for (const auto& [n, d, n_nodes] : {std::tuple<Index, Index, Index>{700, 17, 90}, {90, 40, 1500}}) {
        const Data<float> data(n, d, n_nodes);
        Data<double> wide(1, 1, 1);
        wide.Z = data.Z.cast<double>();
        wide.U = data.U.cast<double>();
        wide.y = data.y;
        for (const HingeLoss kind : kLosses) {
            CAPTURE(static_cast<int>(kind));
            const Result<double> exact = loss(wide.problem(kind));
            Result<float> first{};
            for (const int threads : {1, 2, 7}) {
                const fastcca::ThreadScope scope(threads);
                const Result<float> r = loss(data.problem(kind));
                CHECK(r.total.value == doctest::Approx(exact.total.value).epsilon(1e-4));
                if (threads == 1) first = r;
                CHECK(r.total.value == first.total.value);
                CHECK(r.GZ == first.GZ);
                CHECK(r.GU == first.GU);
            }
        }
    }
}

TEST_CASE("what the hinge loss refuses") {
    Data<double> data(9, 3, 4);
    data.y[5] = 4;
    CHECK_THROWS_WITH_AS(loss(data.problem()), "y must hold classes from 0 to 3, got 4 at row 5",
                         std::invalid_argument);
    data.y[5] = 3;
    data.U(1, 2) = std::nan("");
    CHECK_THROWS_AS(loss(data.problem()), fastcca::NonFiniteError);
    data.U(1, 2) = 1e200;
    CHECK_THROWS_AS(loss(data.problem()), fastcca::NumericalError);
}
