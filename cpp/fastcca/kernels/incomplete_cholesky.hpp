// Incomplete Cholesky of a kernel matrix: K ≈ G Gᵀ with G n × m, from m + 1 columns of K.
//
// One block of pivots P at a time, all of it products of matrices:
//     H = K(P, P) - G(P) G(P)ᵀ = L Lᵀ          candidates, of which some are taken
//     G_new = (K(:, P) - G G(P)ᵀ) L⁻ᵀ
//     d = d - rowwise |G_new|²                 the residual diagonal, of K - G Gᵀ
//
// Greedy: Fine and Scheinberg (2001), Bach and Jordan (2002). Random: RPCholesky, Chen, Epperly, Tropp and
// Webber (2025), in the accelerated form by rejection, Epperly, Tropp and Webber (2024), whose pivots have
// the same distribution as one-by-one sampling. Uniform: Williams and Seeger's Nyström method (2001).
#pragma once

#include <memory>
#include <vector>

#include "fastcca/base/random.hpp"
#include "fastcca/kernels/kernel_columns.hpp"

namespace fastcca {

enum class Pivoting { kGreedy, kRandom, kUniform };

struct PivotedCholeskyOptions {
    Index rank = 1000;
    double tol = 1e-8;  // stop where the residual trace is at most tol · trace K
    Pivoting pivoting = Pivoting::kGreedy;
    Index block = 0;  // candidates at a time; 0: by rank
    std::uint64_t seed = 0;
};

template <typename T>
class PivotedCholesky {
 public:
    // `weights` (empty: ones) multiply a row's part of the traces and its chance to be drawn; a row of
    // weight 0 is never a pivot.
    PivotedCholesky(std::shared_ptr<KernelColumns<T>> kernel, const PivotedCholeskyOptions& options,
                    Vector<double> weights = {});

    // Takes one block of pivots. False when nothing is left to do. Throws NumericalError where the kernel
    // turns out not to be positive semidefinite.
    bool step();

    Index rank() const { return static_cast<Index>(pivots_.size()); }
    const std::vector<Index>& pivots() const { return pivots_; }
    // The trace of K - G Gᵀ after each pivot.
    const std::vector<double>& residual_trace() const { return residual_trace_; }
    double trace() const { return trace_; }
    // Gᵀ: a column per row of K, of which the first rank() rows hold values.
    Matrix<T>& features() { return G_; }

 private:
    struct Block {
        std::vector<Index> pivots;
        Matrix<double> L;
    };

    std::vector<Index> candidates();
    std::vector<Index> largest_residuals(Index count) const;
    std::vector<Index> sampled(Index count);
    std::vector<Index> next_uniform(Index count);
    Block take(const std::vector<Index>& candidates);
    void append(Block& block);
    void check_pivot(double residual, Index row) const;
    void check_diagonal(const Matrix<double>& K, const std::vector<Index>& rows) const;
    double largest_residual() const;

    std::shared_ptr<KernelColumns<T>> kernel_;
    PivotedCholeskyOptions options_;
    Vector<double> weights_;
    CounterRandom random_;
    double heaviest_ = 1;      // the largest weight
    Vector<double> diagonal_;  // of K
    Vector<double> residual_;  // d; exactly 0 at pivots
    double scale_ = 0;         // the largest entry of K's diagonal
    double floor_ = 0;         // residuals of at most this are rounding
    double trace_ = 0;
    Matrix<T> G_;  // transposed: rank × n
    std::vector<Index> pivots_;
    std::vector<double> residual_trace_;
    std::vector<Index> order_;  // a random permutation, for kUniform
    Index next_ = 0;            // how much of it has been tried
};

extern template class PivotedCholesky<float>;
extern template class PivotedCholesky<double>;

}  // namespace fastcca
