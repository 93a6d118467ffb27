// The polar factor of a matrix with no singular value above 1, such as the T of canonical correlations.
#pragma once

#include <optional>

#include "fastcca/base/scratch.hpp"
#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// P = U Vᵀ of T = U D Vᵀ, at the speed of products: knowing the interval of D in advance saves what polar()
// of roots.hpp must find out. Entries belonging to singular values s, t are exact to about 1e-11 / (s + t)
// for S = double, and to 1e-6 / (s + t) for float, whose singular values are within 2e-5 of 1.
//
// Rows and columns of zeros stay zero and are no obstacle. Nothing is returned where T otherwise lacks rank,
// or nearly (a singular value below some 1e-4): where the least singular value of P was not seen to be 1, it
// takes a full decomposition.
template <typename S>
std::optional<Scratch<S>> contraction_polar(ConstRef<S> T);

}  // namespace fastcca
