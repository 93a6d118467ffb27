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

}  // namespace
