#include "fastcca/solver/solution.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fastcca/base/errors.hpp"
#include "fastcca/linalg/svd.hpp"

namespace fastcca {
namespace {

// Rows of the kept columns, zero for the constant ones.
Matrix<double> expand(const Matrix<double>& weights, const WhitenedView& view) {
    Matrix<double> all = Matrix<double>::Zero(view.width, weights.cols());
    for (std::size_t i = 0; i < view.kept.size(); ++i)
        all.row(view.kept[i]) = weights.row(static_cast<Index>(i));
    return all;
}

}  // namespace

void fix_signs(Matrix<double>& x_weights, Matrix<double>& y_weights) {
    for (Index j = 0; j < x_weights.cols(); ++j) {
        // Magnitudes equal up to rounding tie, and the first of them decides: rounding must not.
        const double largest = x_weights.col(j).cwiseAbs().maxCoeff() * (1 - 1e-12);
        Index i = 0;
        while (std::abs(x_weights(i, j)) < largest) ++i;
        if (x_weights(i, j) < 0) {
            x_weights.col(j) *= -1;
            y_weights.col(j) *= -1;
        }
    }
}

void throw_all_constant(const std::string& view) {
    throw NumericalError(view + " has rank 0: every one of its columns is constant");
}

void throw_overflow(const std::string& view) {
    throw NumericalError("the variances of " + view + " overflow: rescale its columns");
}

void throw_underflow(const std::string& view) {
    throw NumericalError("the variances of " + view + " underflow: scale its columns up");
}

Solution solve_whitened(const Matrix<double>& T, const WhitenedView& x, const WhitenedView& y,
                        Index n_components) {
    const Index k = std::min({n_components, x.rank, y.rank, T.rows(), T.cols()});
    Svd svd = truncated_svd(T, k);
    Solution s;
    s.singular_values = svd.values.cwiseMax(0.0).cwiseMin(1.0);
    s.x_weights = expand(x.to_weights(svd.U), x);
    s.y_weights = expand(y.to_weights(svd.V), y);
    for (const auto& [weights, view] : {std::pair{&s.x_weights, "X"}, std::pair{&s.y_weights, "y"}})
        if (!weights->allFinite())
            throw NumericalError(std::string("the weights of ") + view + " overflow: scale its columns up");
    fix_signs(s.x_weights, s.y_weights);
    s.rank = {x.rank, y.rank};
    s.condition = {x.condition, y.condition};
    s.dropped = {x.dropped, y.dropped};
    s.lost = {x.lost, y.lost};
    return s;
}

}  // namespace fastcca
