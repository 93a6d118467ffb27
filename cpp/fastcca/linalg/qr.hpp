// QR factorisation A = Q R, of tall matrices above all: blocks of rows are factored side by side, their R
// factors stacked and factored again.
#pragma once

#include <functional>

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// With m = min(n, d): Q (n × m) has orthonormal columns, R (m × d) is upper trapezoidal with a diagonal that
// is not negative.
struct ThinQr {
    Matrix<double> Q, R;
};
ThinQr thin_qr(ConstRef<double> A);

// For n ≥ d: Q takes the place of A, R is returned.
Matrix<double> qr_in_place(MutableRef<double> A);

// R alone (m × d), at half the cost. A is read once; beside it only a few blocks of rows are held.
Matrix<double> qr_r(ConstRef<double> A);

// The same of an n × d matrix, n ≥ d, that is never held whole: fill(start, count, out) writes rows start …
// start + count - 1 of it. Called from several threads at once.
using FillRows = std::function<void(Index start, Index count, MutableRef<double> out)>;
Matrix<double> qr_r(Index n, Index d, const FillRows& fill);

}  // namespace fastcca
