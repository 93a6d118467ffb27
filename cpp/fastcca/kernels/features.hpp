// From kernels to moments: the features of an incomplete Cholesky, for rows that were not part of it.
//
// With landmarks I and the Cholesky factor K(I, I) = L Lᵀ, the features of x are
//     g(x) = L⁻¹ k(I, x),        so that  g(x)ᵀ g(z) ≈ k(x, z),  exactly so for z in I.
// Kernel CCA is linear CCA of the centred features of both views, and so needs only their moments.
#pragma once

#include <array>
#include <vector>

#include "fastcca/kernels/kernel.hpp"
#include "fastcca/moments/moments.hpp"

namespace fastcca {

template <typename T>
class FeatureMap {
 public:
    // L: the factor in double, of landmarks.size() rows; the products with it are taken in T.
    FeatureMap(Landmarks<T> landmarks, const Matrix<double>& L);

    Index size() const { return landmarks_.size(); }
    // The columns of the input: d, or size() where kernel values are given.
    Index columns() const { return landmarks_.columns(); }

    // features(:, i) = g(x_i): a column per row of X; the kernel's tiles and the solves in parallel.
    void apply(const MatrixView<T>& X, MutableRef<T> features) const;

    // sum_i w_i (k(x_i, x_i) - |g(x_i)|²) and sum_i w_i k(x_i, x_i), given k(x_i, x_i)
    struct Residual {
        double left = 0;
        double trace = 0;
    };
    static Residual residual(ConstRef<T> features, const Vector<double>& diagonal, const double* weights);
    const KernelSpec& spec() const { return landmarks_.spec(); }

 private:
    Landmarks<T> landmarks_;
    Matrix<T> L_;
};

// One view's rows as a chunk pass takes them.
template <typename T>
struct FeatureInput {
    MatrixView<T> kernel_input;                // what the kernel is evaluated on (kGiven: its values)
    MatrixView<T> columns;                     // the data themselves, for their covariances with the features
    const Vector<double>* diagonal = nullptr;  // k(x, x) of the rows: needed where kernel values are given
    // The rows' features where they are known: contiguous rows.
    MatrixView<T> features{nullptr, 0, 0, 0, 1};
};

// Sums over the rows of both views, x standing before y, with c the data less a fixed shift:
// what the covariances of features and data follow from. They add up over parts of the data.
struct ColumnSums {
    Matrix<double> cross;   // sum of w g cᵀ, (mx + my) × (p + q)
    Vector<double> sum;     // sum of w c
    Vector<double> square;  // sum of w c²
};

// The moments of both views' features, chunk by chunk.
template <typename T>
class FeatureMoments {
 public:
    FeatureMoments(FeatureMap<T> x, FeatureMap<T> y, Vector<T> x_shift, Vector<T> y_shift);

    // Adds rows, read in place. `weights` (nullptr: ones) has an entry per row. Throws NonFiniteError.
    void add(const FeatureInput<T>& x, const FeatureInput<T>& y, const double* weights = nullptr);

    MomentSums finish() const { return moments_.finish(); }
    const ColumnSums& columns() const { return columns_; }
    const FeatureMap<T>& map(std::size_t view) const { return maps_[view]; }
    const typename FeatureMap<T>::Residual& residual(std::size_t view) const { return residuals_[view]; }

 private:
    using ColumnPerRow = Eigen::Map<const Matrix<T>, 0, Eigen::OuterStride<>>;

    void add_columns(const std::array<FeatureInput<T>, 2>& inputs, Index first, Index rows,
                     const double* weights, const std::vector<ColumnPerRow>& features);

    std::array<FeatureMap<T>, 2> maps_;
    std::array<Vector<T>, 2> shifts_;
    MomentsAccumulator<T> moments_;
    std::array<typename FeatureMap<T>::Residual, 2> residuals_;
    ColumnSums columns_;
};

// Scores of rows: column i is coefficientsᵀ k(x_i, I) - offset. The kernel in T, the products in double.
template <typename T>
Matrix<T> kernel_scores(const Landmarks<T>& landmarks, const MatrixView<T>& X,
                        const Matrix<double>& coefficients, const Vector<double>& offset);

extern template class FeatureMap<float>;
extern template class FeatureMap<double>;
extern template class FeatureMoments<float>;
extern template class FeatureMoments<double>;

}  // namespace fastcca
