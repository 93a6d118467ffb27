// The polar factor of a matrix with no singular value above 1, such as the T of canonical correlations.
#pragma once

#include "fastcca/base/scratch.hpp"
#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// P = U Vᵀ of T = U D Vᵀ, at the speed of products: knowing the interval of D in advance saves what polar()
// of roots.hpp must find out. Entries belonging to singular values s, t are exact to about 1e-11 / (s + t)
// for S = double, and to 1e-6 / (s + t) for float, whose singular values are within 2e-5 of 1.
// Singular values of zero stay zero, and those below some 1e-8 (float: 1e-5) may end anywhere between 0 and
// 1: all of these are subgradients of the trace norm at T.
template <typename S>
Scratch<S> contraction_polar(ConstRef<S> T);

}  // namespace fastcca
