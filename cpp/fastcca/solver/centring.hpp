// The data of one view, centred, brought to unit norm and without the constant columns: what the QR and the
// Gram solver start from. Rows are read where they lie, when they are asked for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fastcca/linalg/dense.hpp"

namespace fastcca {

struct CentredView {
    std::string name;
    Index width = 0;          // columns of the view as given
    std::vector<Index> kept;  // those that are not constant
    Index rows = 0;
    double n = 0;          // sum of the weights
    Vector<double> norms;  // of √wᵢ (xᵢ - mean), the kept columns
    Vector<double> noise;  // rounding of the data relative to a norm of 1: see RankRule
    // Writes rows start … start + count - 1 of √wᵢ (xᵢ - mean) / norm, the kept columns. The data must live.
    std::function<void(Index start, Index count, MutableRef<double> out)> fill;

    Index columns() const { return static_cast<Index>(kept.size()); }
    Matrix<double> data() const;  // all rows
};

// Weights count as repetitions; an empty vector stands for ones. Throws std::invalid_argument at the first
// value that is not finite and NumericalError where every column is constant.
template <typename T>
CentredView centre(const MatrixView<T>& data, const Vector<double>& weights, const std::string& name);

}  // namespace fastcca
