// What every method of the solver returns, and the last steps that all of them share.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// Weights W₁, W₂ of the canonical variates and their (penalised) correlations D. Pairs are (view 1, view 2).
struct Solution {
    Matrix<double> x_weights;  // (p, k)
    Matrix<double> y_weights;  // (q, k)
    Vector<double> singular_values;
    std::array<Index, 2> rank;  // numerical ranks of the centred data
    // Of the centred, regularised views without their constant columns, these brought to unit norm.
    std::array<double, 2> condition;
    std::array<bool, 2> dropped;  // were directions left out that are not constant and that r does not cure
    std::array<double, 2> lost;   // the largest singular value left out, of columns of unit norm
};

// A view as every method hands it on: an orthonormal basis of its whitened space, and the back-transformation
// from coordinates on that basis to weights of the columns that are not constant.
struct WhitenedView {
    Index width = 0;          // columns of the view as given
    std::vector<Index> kept;  // those that are not constant
    Index rank = 0;
    double condition = 0;
    bool dropped = false;
    double lost = 0;
    std::function<Matrix<double>(const Matrix<double>&)> to_weights;  // (rank, k) -> (kept, k)
};

// T = U D Vᵀ, the first k = min(n_components, ranks): D clipped into [0, 1], weights with the sign rule.
Solution solve_whitened(const Matrix<double>& T, const WhitenedView& x, const WhitenedView& y,
                        Index n_components);

// Estimated extreme eigenvalues are commonly right within a factor of two: further than this from a threshold
// they are believed, nearer to it the eigenvalues or singular values themselves decide.
inline constexpr double kMargin = 16;

// The sign rule: in each column of x_weights the entry of largest magnitude is positive; y follows.
void fix_signs(Matrix<double>& x_weights, Matrix<double>& y_weights);

[[noreturn]] void throw_all_constant(const std::string& view);
[[noreturn]] void throw_overflow(const std::string& view);
[[noreturn]] void throw_underflow(const std::string& view);

}  // namespace fastcca
