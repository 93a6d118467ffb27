// The largest eigenvalue of each of many small symmetric matrices.
#pragma once

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// Of each row of `stack`, which holds the n × n entries of a symmetric matrix, row after row; the lower
// triangle is read. Entries are finite, and of a magnitude whose square neither overflows nor matters where
// it underflows. As many matrices at a time as a register has lanes: none sees its neighbours, so that an
// answer does not depend on the stack in which a matrix stands.
Vector<double> largest_eigenvalues(const MatrixView<double>& stack, Index n);

}  // namespace fastcca
