// What the core throws, besides std::invalid_argument (an argument that cannot be meant) and std::bad_alloc.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "fastcca/base/types.hpp"

namespace fastcca {

// Numerical breakdown, of ill-conditioned or degenerate input: not positive definite, no convergence, rank
// zero.
class NumericalError : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

// The first NaN or infinity (in row-major order of the first view that holds one).
class NonFiniteError : public std::invalid_argument {
 public:
    NonFiniteError(std::size_t view, Index row, Index column, bool is_nan)
        : std::invalid_argument("non-finite value"), view(view), row(row), column(column), is_nan(is_nan) {}
    std::size_t view;
    Index row, column;
    bool is_nan;
};

// The interrupt hook asked for a stop; whoever set the hook knows why.
class Interrupted : public std::exception {
 public:
    const char* what() const noexcept override { return "interrupted"; }
};

}  // namespace fastcca
