// What counts as zero compared with the rest of a view: the one rule by which every solver finds ranks.
//
// Columns are brought to unit norm about their mean, so that no unit of measurement decides. A direction v of
// such columns, |v| = 1, whose norm is σ, is dropped where
//     σ <= arithmetic · σmax    (what the computation of σ may have left of zero), or
//     σ <= Σ |vⱼ| δⱼ            (what the rounding of the data may have made of zero),
// since entries are known to eps · |entry| only: rounding moves a column of unit norm by
//     δⱼ = eps · rms(xⱼ) / sd(xⱼ).
// A sum of columns whose means are large compared with their standard deviation is a sum, though its rounded
// entries are not.
#pragma once

#include <functional>
#include <vector>

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

// A column counts as constant where its sum of squares about the mean, here its square root, is what rounding
// the mean leaves.
bool is_constant(double norm, double n, double mean, double eps);

// δ of a column, from the norm about its mean and from the sum of the weights n.
double entry_noise(double norm, double n, double mean, double eps);

struct RankRule {
    double arithmetic;     // relative to σmax
    Vector<double> noise;  // δⱼ, in the units of the columns

    // A bound of Σ |vⱼ| δⱼ over all directions: none above it is dropped for the rounding of the data.
    double most_noise() const { return noise.norm(); }
    // Which to keep of the singular values s (descending), whose directions are the columns of
    // `directions()`: asked for only where the bound does not settle it.
    std::vector<Index> kept(const Vector<double>& s, const std::function<Matrix<double>()>& directions) const;
};

// `arithmetic` of singular values computed in double from d columns. It does not grow with the rows, whose
// rounding errors are as random as their numbers.
double data_arithmetic(Index d);

}  // namespace fastcca
