// The covariance method: canonical weights from the moments alone.
#pragma once

#include <vector>

#include "fastcca/solver/solution.hpp"

namespace fastcca {

// The moments of two stacked views, as layer 1 hands them in.
struct MomentsView {
    double n;
    Eigen::Map<const Vector<double>> mean;      // (p + q)
    Eigen::Map<const Matrix<double>> scatter;   // (p + q, p + q), about the mean
    Eigen::Map<const Vector<double>> eps;       // of the least precise data of each column
    Eigen::Map<const Vector<double>> rounding;  // relative error of each column's sum of squares
};

struct Penalty {
    double x;
    double y;
};

// Columns start … start + width - 1 that are not constant, counted from start.
std::vector<Index> varying_columns(const MomentsView& moments, Index start, Index width);

// scatter / divisor of some rows, counted from row0, and some columns, counted from col0.
Matrix<double> scaled_scatter(const MomentsView& moments, const std::vector<Index>& rows, Index row0,
                              const std::vector<Index>& cols, Index col0, double divisor);

// The same over n - 1.
Matrix<double> covariance(const MomentsView& moments, const std::vector<Index>& rows, Index row0,
                          const std::vector<Index>& cols, Index col0);

Solution solve_moments(const MomentsView& moments, Index p, Index n_components, Penalty reg);

// One view's whitening: W with Wᵀ (S + rI) W = I, rows of zero for constant columns, without the directions
// that the rank rule drops.
struct ViewWhitening {
    Matrix<double> weights;  // (width, directions)
    Index rank = 0;          // of the data, whatever the ridge
    double condition = 0;
    bool dropped = false;
    double lost = 0;
};

// Of columns start … start + width - 1; `name` is what errors call them.
ViewWhitening whiten_moments(const MomentsView& moments, Index start, Index width, double reg,
                             const std::string& name);

// The error of eigenvalues of d × d matrices, relative to the largest.
double rank_tolerance(Index d);

}  // namespace fastcca
