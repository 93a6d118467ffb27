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
    // L: the factor in double, of landmarks.size() rows; the products with it are taken in T. `late`: rows
    // give their kernel values, and L⁻¹ is applied to the moments of all, in double. That saves n m² of
    // 3 n m² operations a view, and costs the square of L's condition number in digits.
    FeatureMap(Landmarks<T> landmarks, const Matrix<double>& L, bool late = false);

    Index size() const { return landmarks_.size(); }
    // The columns of the input: d, or size() where kernel values are given.
    Index columns() const { return landmarks_.columns(); }

    // features(:, i) = g(x_i), or k(I, x_i) where the map is late: a column per row of X; the kernel's tiles
    // and the solves in parallel.
    void apply(const MatrixView<T>& X, MutableRef<T> features) const;
    // sums ← L⁻¹ sums, of sums over rows, where the map is late; else nothing.
    void finish(MutableRef<double> sums) const;

    bool late() const { return late_.size() > 0; }
    const KernelSpec& spec() const { return landmarks_.spec(); }

 private:
    Landmarks<T> landmarks_;
    Matrix<T> L_;          // empty where the map is late,
    Matrix<double> late_;  // else this
};

// One view's rows as a chunk pass takes them.
template <typename T>
struct FeatureInput {
    MatrixView<T> kernel_input;                // what the kernel is evaluated on (kGiven: its values)
    MatrixView<T> columns;                     // the data themselves, for their covariances with the features
    const Vector<double>* diagonal = nullptr;  // k(x, x) of the rows: needed where kernel values are given
    // The rows' features where they are known (of a map that is not late): contiguous rows.
    MatrixView<T> features{nullptr, 0, 0, 0, 1};
};

// Sums over the rows of both views, x standing before y, with c the data less a fixed shift:
// what the covariances of features and data follow from. They add up over parts of the data.
struct ColumnSums {
    Matrix<double> cross;   // sum of w g cᵀ, (mx + my) × (p + q); empty where it is not wanted
    Vector<double> sum;     // sum of w c
    Vector<double> square;  // sum of w c²
};

// Of one view: sum of w (k(x, x) - |g(x)|²), at least 0, and sum of w k(x, x).
struct KernelTrace {
    double left = 0;
    double whole = 0;
};

// The moments of both views' features, chunk by chunk.
template <typename T>
class FeatureMoments {
 public:
    // `with_cross`: whether ColumnSums::cross is wanted, which takes 2 (mx + my) (p + q) operations a row.
    FeatureMoments(FeatureMap<T> x, FeatureMap<T> y, Vector<T> x_shift, Vector<T> y_shift,
                   bool with_cross = true);

    // Adds rows, read in place. `weights` (nullptr: ones) has an entry per row. Throws NonFiniteError.
    void add(const FeatureInput<T>& x, const FeatureInput<T>& y, const double* weights = nullptr);

    struct Sums {
        MomentSums moments;
        ColumnSums columns;
        std::array<KernelTrace, 2> traces;
    };
    Sums finish() const;

 private:
    using ColumnPerRow = Eigen::Map<const Matrix<T>, 0, Eigen::OuterStride<>>;

    void add_columns(const std::array<FeatureInput<T>, 2>& inputs, Index first, Index rows,
                     const double* weights, const std::vector<ColumnPerRow>& features);

    std::array<FeatureMap<T>, 2> maps_;
    std::array<Vector<T>, 2> shifts_;
    MomentsAccumulator<T> moments_;
    std::array<double, 2> traces_{};
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
