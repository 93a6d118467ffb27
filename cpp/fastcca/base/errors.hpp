// What the core throws, beside std::invalid_argument (an argument that cannot be meant) and std::bad_alloc.
#pragma once

#include <stdexcept>
#include <string>

namespace fastcca {

// The data defeat the arithmetic: not positive definite, no convergence, rank zero.
class NumericalError : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

// The interrupt hook asked for a stop; whoever set the hook knows why.
class Interrupted : public std::exception {
 public:
    const char* what() const noexcept override { return "interrupted"; }
};

}  // namespace fastcca
