// The products of the columns of a sparse matrix, from the entries that are there.
#pragma once

#include <cstdint>

#include "fastcca/base/types.hpp"

namespace fastcca {

// Compressed rows; columns ascend strictly within a row.
struct SparseRows {
    Index rows;
    Index cols;
    const std::int64_t* starts;   // of each row, and the end of the last
    const std::int32_t* columns;  // of each entry
    const double* values;
};

// Throws std::invalid_argument where the starts do not ascend to `entries`, or a column is out of order or
// range.
void check_sparse_rows(const SparseRows& Z, Index entries);

// out(i, j) += sum over rows of weight z_i z_j for i <= j, `out` by rows; weights of null count as ones.
// A product costs as many multiplications as rows hold pairs of entries. The same bits for any number of
// threads.
void add_sparse_products(const SparseRows& Z, const double* weights, double* out);

}  // namespace fastcca
