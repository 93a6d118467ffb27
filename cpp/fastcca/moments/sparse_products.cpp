#include "fastcca/moments/sparse_products.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// Entries of a run of rows, which every column's products read anew: they stay in the last-level cache.
constexpr Index kRunEntries = Index{1} << 20;
constexpr Index kTaskColumns = 8;
constexpr std::size_t kAhead = 4;

// A run of rows, by columns: the entries of column j are [starts[j], starts[j + 1]) of the two lists.
struct ByColumns {
    std::vector<Index> starts;
    std::vector<std::int64_t> at;  // among the entries of the rows
    std::vector<std::int32_t> row;

    ByColumns(const SparseRows& Z, Index first, Index last) : starts(static_cast<std::size_t>(Z.cols) + 1) {
        const auto begin = Z.starts[first], end = Z.starts[last];
        for (auto k = begin; k < end; ++k) ++starts[static_cast<std::size_t>(Z.columns[k]) + 1];
        for (std::size_t j = 1; j < starts.size(); ++j) starts[j] += starts[j - 1];
        at.resize(static_cast<std::size_t>(end - begin));
        row.resize(at.size());
        std::vector<Index> next(starts.begin(), starts.end() - 1);
        for (Index r = first; r < last; ++r)
            for (auto k = Z.starts[r]; k < Z.starts[r + 1]; ++k) {
                const auto to = static_cast<std::size_t>(next[static_cast<std::size_t>(Z.columns[k])]++);
                at[to] = k;
                row[to] = static_cast<std::int32_t>(r - first);
            }
    }
};

Index end_of_run(const SparseRows& Z, Index first) {
    Index last = first + 1;
    while (last < Z.rows && Z.starts[last + 1] - Z.starts[first] <= kRunEntries &&
           last - first < (Index{1} << 30))
        ++last;
    return last;
}

}  // namespace

void check_sparse_rows(const SparseRows& Z, Index entries) {
    if (Z.starts[0] != 0 || Z.starts[Z.rows] != entries)
        throw std::invalid_argument("the starts of the rows must lead from 0 to the number of entries");
    for (Index r = 0; r < Z.rows; ++r)
        if (Z.starts[r] > Z.starts[r + 1]) throw std::invalid_argument("the starts of the rows must ascend");
    for (Index r = 0; r < Z.rows; ++r)
        for (auto k = Z.starts[r]; k < Z.starts[r + 1]; ++k) {
            const bool ascends = k == Z.starts[r] || Z.columns[k - 1] < Z.columns[k];
            if (!ascends || Z.columns[k] < 0 || Z.columns[k] >= Z.cols)
                throw std::invalid_argument("the columns of a row must ascend and be within the matrix");
        }
}

void add_sparse_products(const SparseRows& Z, const double* weights, double* out) {
    for (Index first = 0; first < Z.rows;) {
        const Index last = end_of_run(Z, first);
        const ByColumns run(Z, first, last);
        parallel_for((Z.cols + kTaskColumns - 1) / kTaskColumns, [&](Index task) {
            for (Index i = task * kTaskColumns; i < std::min(Z.cols, (task + 1) * kTaskColumns); ++i) {
                double* products = out + i * Z.cols;
                const auto begin = static_cast<std::size_t>(run.starts[static_cast<std::size_t>(i)]);
                const auto end = static_cast<std::size_t>(run.starts[static_cast<std::size_t>(i) + 1]);
                for (std::size_t k = begin; k < end; ++k) {
                    // The rows that come next lie anywhere in the run.
                    if (k + kAhead < end) {
                        const auto next = run.at[k + kAhead],
                                   after = Z.starts[first + run.row[k + kAhead] + 1];
                        for (auto line = next; line < after; line += 8) __builtin_prefetch(Z.values + line);
                        for (auto line = next; line < after; line += 16) __builtin_prefetch(Z.columns + line);
                    }
                    const Index r = first + run.row[k];
                    const double value = Z.values[run.at[k]] * (weights ? weights[r] : 1.0);
                    const auto stop = Z.starts[r + 1];
                    for (auto other = run.at[k]; other < stop; ++other)
                        products[Z.columns[other]] += value * Z.values[other];
                }
            }
            poll();
        });
        first = last;
    }
}

}  // namespace fastcca
