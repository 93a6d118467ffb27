// Held-out correlations of every fold and every ridge from moments alone: one eigendecomposition per view and
// fold.
#pragma once

#include <vector>

#include "fastcca/solver/covariance.hpp"

namespace fastcca {

struct Fold {
    MomentsView train;  // total minus held out
    MomentsView held_out;
};

// Element (fold, reg, component) at [fold][reg * k + component]: the Pearson correlation, over the held-out
// rows, of the scores whose weights solve the training moments with that ridge. 0 where a held-out score is
// constant; NaN beyond the components that the fold's ranks allow. `total_variation` is the scatter's
// diagonal over all rows.
std::vector<std::vector<double>> held_out_correlations(const std::vector<Fold>& folds,
                                                       Eigen::Map<const Vector<double>> total_variation,
                                                       Index p, const std::vector<Penalty>& regs,
                                                       Index n_components);

}  // namespace fastcca
