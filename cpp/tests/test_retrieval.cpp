#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/random.hpp"
#include "fastcca/moments/moments.hpp"
#include "fastcca/retrieval/bfloat16_tile.hpp"
#include "fastcca/retrieval/candidates.hpp"
#include "fastcca/retrieval/tile.hpp"
#include "fastcca/retrieval/top_k.hpp"

namespace {

using namespace fastcca;

constexpr Similarity kAll[] = {Similarity::kInnerProduct, Similarity::kCosine, Similarity::kEuclidean};

double slow_score(const Eigen::RowVectorXd& x, const Eigen::RowVectorXd& q, Similarity similarity) {
    if (similarity == Similarity::kEuclidean) return -(x - q).squaredNorm();
    if (similarity == Similarity::kInnerProduct) return x.dot(q);
    return x.norm() * q.norm() > 0 ? x.dot(q) / (x.norm() * q.norm()) : 0.0;
}

template <typename T>
struct Result {
    std::vector<Index> indices;
    std::vector<T> scores;
};

template <typename T>
Result<T> search(const MatrixView<T>& gallery, const MatrixView<T>& queries, Similarity similarity, Index k) {
    const auto n = static_cast<std::size_t>(queries.rows * k);
    Result<T> result{std::vector<Index>(n, -1), std::vector<T>(n)};
    top_k<T>(gallery, queries, similarity, k, result.indices.data(), result.scores.data());
    return result;
}

// Rows of small whole numbers: many ties, all exact.
template <typename T>
Matrix<T> whole_numbers(Index rows, Index cols, unsigned seed) {
    return (random_uniform(rows, cols, seed) * 2.4).array().round().cast<T>();
}

template <typename T>
void check_against_sort(const Matrix<T>& gallery, const Matrix<T>& queries, Similarity similarity, Index k) {
    const Result<T> found = search<T>(view_of(gallery), view_of(queries), similarity, k);
    std::vector<Candidate<double>> all(static_cast<std::size_t>(gallery.rows()));
    for (Index q = 0; q < queries.rows(); ++q) {
        const Eigen::RowVectorXd query = queries.row(q).template cast<double>();
        for (Index i = 0; i < gallery.rows(); ++i)
            all[static_cast<std::size_t>(i)] = {
                slow_score(gallery.row(i).template cast<double>(), query, similarity), i};
        std::sort(all.begin(), all.end());
        const double sign = similarity == Similarity::kEuclidean ? -1 : 1;
        std::set<Index> seen;
        for (Index i = 0; i < k; ++i) {
            const auto place = static_cast<std::size_t>(q * k + i);
            const Candidate<double>& expected = all[static_cast<std::size_t>(i)];
            const double tolerance = 1e-6 * (1 + std::abs(expected.score));
            CHECK(std::abs(static_cast<double>(found.scores[place]) - sign * expected.score) <= tolerance);
            // Cosines that are equal in exact arithmetic need not be equal when rounded.
            if (similarity != Similarity::kCosine) CHECK(found.indices[place] == expected.index);
            seen.insert(found.indices[place]);
        }
        CHECK(seen.size() == static_cast<std::size_t>(k));
    }
}

TEST_CASE_TEMPLATE("top_k equals a sort of all scores, ties by place", T, float, double) {
    for (const Similarity similarity : kAll)
        for (const Index m : {1, 2, 7, 47, 48, 49, 200})
            for (const Index n : {1, 3, 8, 17})
                for (const Index d : {1, 3, 16, 17})
                    for (const Index k : {Index{1}, m / 3 + 1, m})
                        check_against_sort<T>(whole_numbers<T>(m, d, 1), whole_numbers<T>(n, d, 2),
                                              similarity, k);
}

TEST_CASE_TEMPLATE("top_k over many chunks of the gallery", T, float, double) {
    for (const Similarity similarity : kAll)
        for (const Index k : {1, 30, 600})
            check_against_sort<T>(whole_numbers<T>(30000, 4, 1), whole_numbers<T>(3, 4, 2), similarity, k);
}

TEST_CASE_TEMPLATE("top_k: any strides, any number of threads, the same bits", T, float, double) {
    const Matrix<T> G = random_uniform(20000, 5, 3).cast<T>(), Q = random_uniform(140, 5, 4).cast<T>();
    const Matrix<T> Gt = G.transpose(), Qt = Q.transpose();
    for (const Similarity similarity : kAll) {
        const ThreadScope one(1);
        const Result<T> expected = search<T>(view_of(G), view_of(Q), similarity, 9);
        for (const int n_threads : {1, 2, 5}) {
            const ThreadScope threads(n_threads);
            const Result<T> found =
                search<T>({Gt.data(), 20000, 5, 5, 1}, {Qt.data(), 140, 5, 5, 1}, similarity, 9);
            CHECK(found.indices == expected.indices);
            CHECK(found.scores == expected.scores);
        }
    }
}

TEST_CASE_TEMPLATE("top_k says where a number is not finite, and what overflows", T, float, double) {
    const Matrix<T> clean = whole_numbers<T>(100, 3, 1);
    for (const Similarity similarity : kAll) {
        Matrix<T> bad = clean;
        bad(60, 1) = std::numeric_limits<T>::quiet_NaN();
        try {
            search<T>(view_of(bad), view_of(clean), similarity, 1);
            FAIL("NaN in the gallery was not found");
        } catch (const NonFiniteError& e) {
            CHECK(e.view == 0);
            CHECK(e.row == 60);
            CHECK(e.column == 1);
            CHECK(e.is_nan);
        }
        bad(60, 1) = -std::numeric_limits<T>::infinity();
        try {
            search<T>(view_of(clean), view_of(bad), similarity, 1);
            FAIL("infinity in the queries was not found");
        } catch (const NonFiniteError& e) {
            CHECK(e.view == 1);
            CHECK(e.row == 60);
            CHECK_FALSE(e.is_nan);
        }
        bad(60, 1) = std::sqrt(std::numeric_limits<T>::max());
        CHECK_THROWS_AS(search<T>(view_of(bad), view_of(clean), similarity, 1), std::invalid_argument);
    }
}

TEST_CASE("candidate lists keep the best K of what they are offered, the earlier of equals") {
    const Index K = 5, n = 1000;
    std::vector<Candidate<float>> all;
    const float none = std::numeric_limits<float>::lowest();
    CandidateLists<float> lists(1, K, n, &none, 4);
    for (Index i = 0; i < n; ++i) {
        const auto score = static_cast<float>((i * 7919) % 50);
        all.push_back({score, i});
        lists.offer(0, score, i);
    }
    CHECK(lists.thresholds()[0] > 40.0F);
    CHECK(lists.thresholds()[3] == std::numeric_limits<float>::max());  // padding
    std::sort(all.begin(), all.end());
    std::vector<Candidate<float>> kept(static_cast<std::size_t>(K));
    CHECK(lists.take(0, kept.data()) == K);
    std::sort(kept.begin(), kept.end());
    for (std::size_t i = 0; i < kept.size(); ++i) CHECK(kept[i].index == all[i].index);
}

// ---- sieved by the matrix unit, where there is one ----

bool no_tiles() {
    if (use_bfloat16_tiles()) return false;
    MESSAGE("skipped: this CPU has no AMX, or FASTCCA_AMX=0");
    return true;
}

struct WithoutTiles {
    WithoutTiles() { allow_bfloat16_tiles(false); }
    ~WithoutTiles() { allow_bfloat16_tiles(true); }
};

// Scores in float as ScoreTile computes them, row by query.
Matrix<float> scores_of(const Matrix<float>& G, const Matrix<float>& Q, const Vector<float>& bias) {
    Matrix<float> scores(G.rows(), Q.rows());
    for (Index j = 0; j < Q.rows(); ++j)
        for (Index r = 0; r < G.rows(); ++r) {
            float sum = bias[r];
            for (Index c = 0; c < G.cols(); ++c) sum = std::fma(G(r, c), Q(j, c), sum);
            scores(r, j) = sum;
        }
    return scores;
}

// Every pair just above its query's threshold must be left; for the bound to be of use, none far below it.
void check_sieve(const Matrix<float>& G, const Matrix<float>& Q, const Vector<float>& bias,
                 bool of_use = true) {
    constexpr int kRows = Bfloat16Panel::kRows;
    const Index d = G.cols(), n = Q.rows();
    const Matrix<float> scores = scores_of(G, Q, bias);
    Matrix<float> packed(kRows, d);
    packed = G;
    Bfloat16Queries queries(n, d);
    for (Index j = 0; j < n; ++j) {
        const Vector<float> q = Q.row(j);
        queries.set(j, q.data(), 1);
    }
    Bfloat16Panel panel(d);
    panel.set(packed.data(), std::sqrt(G.cast<double>().rowwise().squaredNorm().maxCoeff()) * (1 + 1e-6));
    const double largest = bias.cast<double>().cwiseAbs().maxCoeff();
    const Vector<float> aligned = bias;
    std::vector<float> thresholds(static_cast<std::size_t>((n + 15) / 16 * 16),
                                  std::numeric_limits<float>::max());
    std::vector<Sieved> sieved(static_cast<std::size_t>(n));
    for (Index r = 0; r < kRows; ++r) {
        for (Index j = 0; j < n; ++j)
            thresholds[static_cast<std::size_t>(j)] =
                std::nextafter(scores(r, j), -std::numeric_limits<float>::max());
        const Index count =
            panel.sieve(aligned.data(), largest, queries, 0, n, thresholds.data(), sieved.data());
        Index last = -1, found = 0;
        for (Index i = 0; i < count; ++i) {
            const Sieved& s = sieved[static_cast<std::size_t>(i)];
            CHECK(s.query > last);
            last = s.query;
            found += static_cast<Index>(s.rows >> r & 1);
        }
        CHECK(last < n);
        CHECK(found == n);
    }
    if (!of_use) return;
    for (Index j = 0; j < n; ++j)
        thresholds[static_cast<std::size_t>(j)] =
            scores.col(j).maxCoeff() + 0.05F * G.rowwise().norm().maxCoeff() * Q.row(j).norm() + 1e-30F;
    CHECK(panel.sieve(aligned.data(), largest, queries, 0, n, thresholds.data(), sieved.data()) == 0);
}

TEST_CASE("the sieve leaves every pair that exceeds its threshold") {
    if (no_tiles()) return;
    constexpr int kRows = Bfloat16Panel::kRows;
    for (const Index d : {1, 2, 31, 32, 33, 64, 100, 513})
        for (const Index n : {1, 15, 16, 17, 33, 48}) {
            const Matrix<float> G = random_uniform(kRows, d, 1).cast<float>();
            const Matrix<float> Q = random_uniform(n, d, 2).cast<float>();
            const Vector<float> none = Vector<float>::Zero(kRows);
            const Vector<float> bias = -0.5F * G.rowwise().squaredNorm();
            check_sieve(G, Q, none);
            check_sieve(G, Q, bias);
            check_sieve(G * 1e-18F, Q * 1e15F, none);
            check_sieve(G * 1e-30F, Q * 1e-3F, none);
            check_sieve(G * 1e-41F, Q, none);  // no normal numbers
            check_sieve(G * 1e-41F, Q * 1e18F, none, false);
            check_sieve(G * 1e15F, Q * 1e15F, bias * 1e30F);
        }
}

TEST_CASE("the sieve at numbers that bfloat16 holds, whose sums are rounded") {
    if (no_tiles()) return;
    constexpr int kRows = Bfloat16Panel::kRows;
    for (const Index d : {33, 64, 400}) {
        Matrix<float> G = (random_uniform(kRows, d, 1) * 127).array().round().cast<float>();
        Matrix<float> Q = (random_uniform(32, d, 2) * 127).array().round().cast<float>();
        for (Index c = 0; c < d; ++c) {
            G.col(c) *= std::exp2(static_cast<float>(-(c % 9)));
            Q.col(c) *= std::exp2(static_cast<float>(-(c % 9)));
        }
        const Vector<float> bias = -0.5F * G.rowwise().squaredNorm();
        check_sieve(G, Q, Vector<float>::Zero(kRows));
        check_sieve(G, Q, bias);
        check_sieve(G, Q * 1e-3F, bias * 1e2F, false);
    }
}

TEST_CASE("the sieve at numbers that bfloat16 rounds worst, all the same way") {
    if (no_tiles()) return;
    constexpr int kRows = Bfloat16Panel::kRows;
    // Just above and just below the middle between two neighbours, here of 1, which is off by 2^-8 of itself.
    for (const float x : {1 + 0x1p-8F + 0x1p-22F, 1 + 0x1p-8F - 0x1p-22F})
        for (const Index d : {32, 64, 200}) {
            Matrix<float> G = Matrix<float>::Constant(kRows, d, x), Q = Matrix<float>::Constant(20, d, x);
            for (Index r = 0; r < kRows; ++r) G.row(r) *= std::exp2(static_cast<float>(r % 5 - 2));
            const Vector<float> none = Vector<float>::Zero(kRows);
            check_sieve(G, Q, none);
            check_sieve(-G, Q, none);
            check_sieve(G * 0x1p-60F, Q, none);
        }
}

// The bits of the search with the matrix unit and without, by every number of threads.
void check_same_bits(const Matrix<float>& G, const Matrix<float>& Q, Index k) {
    for (const Similarity similarity : kAll) {
        const Result<float> expected = [&] {
            const WithoutTiles without;
            return search<float>(view_of(G), view_of(Q), similarity, k);
        }();
        for (const int n_threads : {1, 3}) {
            const ThreadScope threads(n_threads);
            const Result<float> found = search<float>(view_of(G), view_of(Q), similarity, k);
            CHECK(found.indices == expected.indices);
            CHECK(found.scores == expected.scores);
        }
    }
}

TEST_CASE("top_k: the same bits with and without the matrix unit") {
    if (no_tiles()) return;
    for (const Index d : {16, 33, 64, 300})
        for (const Index n : {64, 65, 130}) {
            const Matrix<float> Q = random_uniform(n, d, 2).cast<float>();
            for (const Index m : {1, 47, 49, 1000}) {
                const Matrix<float> G = random_uniform(m, d, 1).cast<float>();
                for (const Index k : {Index{1}, std::min<Index>(10, m), m}) check_same_bits(G, Q, k);
            }
        }
    const Matrix<float> Q = random_uniform(300, 24, 2).cast<float>();
    Matrix<float> G = random_uniform(20000, 24, 1).cast<float>();
    check_same_bits(G, Q, 7);
    check_same_bits(G.array() + 100.0F, Q.array() + 100.0F, 7);  // far from the origin
    for (Index i = 0; i < G.rows(); ++i) G.row(i) *= std::exp2(static_cast<float>(i % 60 - 30));
    check_same_bits(G, Q, 7);
    // equal rows, rows of zeros and rows that are hardly there
    for (Index i = 0; i < G.rows(); ++i) G.row(i) = G.row(i % 97) * (i % 3 ? 1.0F : i % 2 ? 0.0F : 1e-38F);
    check_same_bits(G, Q, 40);
    check_same_bits(whole_numbers<float>(20000, 17, 1), whole_numbers<float>(80, 17, 2), 25);
}

}  // namespace
