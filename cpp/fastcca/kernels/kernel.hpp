// Positive semidefinite kernels, evaluated in tiles at the speed of matrix products.
#pragma once

#include "fastcca/base/types.hpp"
#include "fastcca/linalg/dense.hpp"

namespace fastcca {

enum class KernelType {
    kRbf,         // exp(-gamma |x - z|²)
    kLaplacian,   // exp(-gamma |x - z|_1)
    kPolynomial,  // (gamma <x, z> + coef0)^degree
    kLinear,      // <x, z>
    kCosine,      // <x, z> / (|x| |z|), 0 where a norm is 0
    kGiven,       // the "points" x are rows of kernel values already: column j belongs to landmark j
};

struct KernelSpec {
    KernelType type = KernelType::kRbf;
    double gamma = 1;
    int degree = 3;
    double coef0 = 1;
};

// k(x_i, x_i) for every row, in double.
template <typename T>
Vector<double> kernel_diagonal(const KernelSpec& spec, const MatrixView<T>& X);

// The landmarks z_1 … z_m of a kernel, prepared once and then evaluated against any number of rows.
template <typename T>
class Landmarks {
 public:
    Landmarks(const KernelSpec& spec, const MatrixView<T>& points);
    // Landmarks of KernelType::kGiven, which have no points.
    explicit Landmarks(Index size) : spec_{KernelType::kGiven}, points_(size, 0) {}

    Index size() const { return points_.rows(); }
    Index columns() const { return spec_.type == KernelType::kGiven ? size() : points_.cols(); }
    const KernelSpec& spec() const { return spec_; }

    // out(j, i) = k(z_{first + j}, x_i): a column per row of X. Runs on the calling thread. Throws
    // NonFiniteError (its row counted within X) where X holds NaN or infinity.
    void tile(const MatrixView<T>& X, Index first, MutableRef<T> out) const;

 private:
    void products_to_kernel(const Eigen::Matrix<T, 1, Eigen::Dynamic>& norms, Index first,
                            MutableRef<T> out) const;
    void laplacian(const Matrix<T>& packed, Index first, MutableRef<T> out) const;

    KernelSpec spec_;
    T unit_ = 1;                                 // what points and rows are multiplied by
    Eigen::Matrix<T, 1, Eigen::Dynamic> shift_;  // the landmarks' mean, for rbf
    Matrix<T> points_;                           // m × d, shifted (cosine: scaled to unit length)
    Vector<T> norms_;                            // squared, for rbf
};

// K(Z, X) with an element per (row of Z, row of X); tiles in parallel.
template <typename T>
Matrix<T> kernel_matrix(const KernelSpec& spec, const MatrixView<T>& Z, const MatrixView<T>& X);

// K(X, X): exactly symmetric, with the exact diagonal.
template <typename T>
Matrix<T> kernel_matrix(const KernelSpec& spec, const MatrixView<T>& X);

}  // namespace fastcca
