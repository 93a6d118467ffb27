// Products of the columns of sparse rows against long double.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/moments/sparse_products.hpp"

using namespace fastcca;

namespace {

struct Entries {
    std::vector<std::int64_t> starts{0};
    std::vector<std::int32_t> columns;
    std::vector<double> values;
    Index cols;

    SparseRows rows() const {
        return {static_cast<Index>(starts.size()) - 1, cols, starts.data(), columns.data(), values.data()};
    }
};

// One in `one_in` entries is there; some rows hold none.
Entries noise(Index rows, Index cols, std::uint64_t one_in) {
    Entries out;
    out.cols = cols;
    std::uint64_t seed = 7;
    const auto next = [&] { return (seed = seed * 6364136223846793005ULL + 1442695040888963407ULL) >> 33; };
    for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols && i % 17 != 3; ++j)
            if (next() % one_in == 0) {
                out.columns.push_back(static_cast<std::int32_t>(j));
                out.values.push_back(static_cast<double>(next()) / 2147483648.0 - 0.3);
            }
        out.starts.push_back(static_cast<std::int64_t>(out.values.size()));
    }
    return out;
}

}  // namespace

TEST_CASE("products of sparse columns") {
    // The last has more entries than one run of rows.
    for (const auto& [rows, cols, one_in] :
         {std::array<Index, 3>{1, 1, 1}, {50, 7, 2}, {300, 90, 9}, {60000, 20, 1}}) {
        const Entries entries = noise(rows, cols, static_cast<std::uint64_t>(one_in));
        const SparseRows Z = entries.rows();
        check_sparse_rows(Z, static_cast<Index>(entries.values.size()));
        std::vector<double> weights;
        for (Index i = 0; i < rows; ++i) weights.push_back(static_cast<double>(i % 4));
        std::vector<long double> expected(static_cast<std::size_t>(cols * cols), 1.0L);
        for (Index i = 0; i < rows; ++i)
            for (auto a = Z.starts[i]; a < Z.starts[i + 1]; ++a)
                for (auto b = a; b < Z.starts[i + 1]; ++b)
                    expected[static_cast<std::size_t>(Z.columns[a] * cols + Z.columns[b])] +=
                        static_cast<long double>(weights[static_cast<std::size_t>(i)]) * Z.values[a] *
                        Z.values[b];
        std::vector<double> one(expected.size(), 1.0), two(one);
        {
            const ThreadScope threads(1);
            add_sparse_products(Z, weights.data(), one.data());
        }
        {
            const ThreadScope threads(3);
            add_sparse_products(Z, weights.data(), two.data());
        }
        CHECK(one == two);
        for (std::size_t k = 0; k < one.size(); ++k)
            CHECK(std::abs(static_cast<double>(one[k] - expected[k])) <= 1e-12 * (1 + std::abs(one[k])));
    }
}

TEST_CASE("sparse rows that are none") {
    const auto entries = [] {
        Entries out;
        out.cols = 3;
        out.starts = {0, 2, 3};
        out.columns = {0, 2, 1};
        out.values = {1, 2, 3};
        return out;
    };
    check_sparse_rows(entries().rows(), 3);
    CHECK_THROWS_AS(check_sparse_rows(entries().rows(), 2), std::invalid_argument);
    for (const std::vector<std::int64_t>& starts :
         {std::vector<std::int64_t>{0, 4, 3}, {1, 2, 3}, {0, -1, 3}}) {
        Entries wrong = entries();
        wrong.starts = starts;
        CHECK_THROWS_AS(check_sparse_rows(wrong.rows(), 3), std::invalid_argument);
    }
    for (const std::vector<std::int32_t>& columns :
         {std::vector<std::int32_t>{0, 3, 1}, {-1, 2, 1}, {2, 2, 1}}) {
        Entries wrong = entries();
        wrong.columns = columns;
        CHECK_THROWS_AS(check_sparse_rows(wrong.rows(), 3), std::invalid_argument);
    }
}
