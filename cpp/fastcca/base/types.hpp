// The vocabulary of the core: indices, owned matrices, and views of matrices that somebody else owns.
#pragma once

#include <Eigen/Core>
#include <limits>

namespace fastcca {

using Index = Eigen::Index;

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
template <typename T>
using Vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;

// A read-only matrix of any strides (counted in elements): NumPy's C and F order, slices, transposes
// and memory maps are read where they lie.
template <typename T>
struct MatrixView {
    const T* data = nullptr;
    Index rows = 0;
    Index cols = 0;
    Index row_stride = 0;
    Index col_stride = 0;

    T operator()(Index i, Index j) const { return data[i * row_stride + j * col_stride]; }

    MatrixView middle_rows(Index start, Index count) const {
        return {data + start * row_stride, count, cols, row_stride, col_stride};
    }

    using Map = Eigen::Map<const Matrix<T>, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
    Map map() const {
        return Map(data, rows, cols, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(col_stride, row_stride));
    }
};

template <typename T>
MatrixView<T> view_of(const Matrix<T>& m) {
    return {m.data(), m.rows(), m.cols(), 1, m.rows()};
}

}  // namespace fastcca
