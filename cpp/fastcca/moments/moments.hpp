// First and second moments of stacked views, in one pass over the data.
//
// The views' columns stand side by side, d in all. Rows are centred by a fixed shift as they are packed (an
// estimate of the mean, so that a mean of 1e8 with a unit variance costs no digit), the packed chunk is
// multiplied with itself, and finish() moves the result from the shift to the mean:
//     offset  = sum w (x - shift) / sum w,            mean = shift + offset
//     scatter = sum w (x - shift)(x - shift)' - (sum w) offset offset'
#pragma once

#include <optional>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/base/types.hpp"

namespace fastcca {

struct MomentSums {
    double n = 0;           // sum of the weights: the number of rows where there are none
    Vector<double> shift;   // representable in P, so that x - shift is rounded once
    Vector<double> offset;  // kept apart from the shift: their sum would round it away
    Matrix<double> scatter;
};

// T is the data's type. Products of a chunk are taken in P, everything is summed in double: float data whose
// products are taken in double lose no digit.
template <typename T, typename P = T>
class MomentsAccumulator {
 public:
    // `columns`: d, the number of columns of all views together.
    explicit MomentsAccumulator(Index columns);

    // Adds rows: one matrix per view, all with the same number of rows; `weights` (nullptr: ones) has an
    // entry per row, not negative. The first call with rows fixes the shift. Throws NonFiniteError; the
    // accumulator is then of no further use.
    void add(const std::vector<MatrixView<T>>& views, const double* weights = nullptr);

    MomentSums finish() const;
    // The same with the scatter (d × d) in memory of the caller's: that of the result is empty.
    MomentSums finish(Eigen::Ref<Matrix<double>> scatter) const;

 private:
    void choose_shift(const std::vector<MatrixView<T>>& views, const double* weights);
    void add_by_row_blocks(const std::vector<MatrixView<T>>& views, const double* weights);
    void add_by_panels(const std::vector<MatrixView<T>>& views, const double* weights);

    Index columns_;
    double n_ = 0;
    Vector<P> shift_;
    // One accumulator per row block where d is small (blocks run in parallel), else, and for few rows, the
    // first alone, whose panels run in parallel. Entry b of a vector belongs to block b.
    std::vector<Vector<double>> sums_;
    std::vector<std::optional<Scratch<double>>> products_;
};

extern template class MomentsAccumulator<float>;
extern template class MomentsAccumulator<double>;
extern template class MomentsAccumulator<float, double>;

}  // namespace fastcca
