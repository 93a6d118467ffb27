// The data of one view, centred and without its constant columns: what the QR and the Gram road start from.
#pragma once

#include <string>
#include <vector>

#include "fastcca/base/types.hpp"

namespace fastcca {

struct CentredView {
    std::string name;
    Index width = 0;          // columns of the view as given
    std::vector<Index> kept;  // those that are not constant
    double n = 0;             // sum of the weights
    Matrix<double> data;      // √wᵢ (xᵢ - mean), one row per sample, the kept columns
};

// Weights count as repetitions; an empty vector stands for ones. Throws std::invalid_argument at the first
// value that is not finite and NumericalError where every column is constant.
template <typename T>
CentredView centre(const MatrixView<T>& data, const Vector<double>& weights, const std::string& name);

}  // namespace fastcca
