// The core as one CPU level offers it: a table of functions.
//
// The core is compiled once per CPU level, its users once for all of them. They must not share inline code,
// or the linker would keep one copy of it, perhaps that of the newest CPU. So each level is closed behind
// this table: nothing but a pointer to it leaves the module that holds the level, and who calls through it
// needs the declarations of the core alone.
//
// What a level has allocated a level releases: matrices by Eigen's allocator, whose alignment is the same
// everywhere (EIGEN_MAX_ALIGN_BYTES), everything else by the deleter of a shared pointer.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/scratch.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/contrastive/contrastive.hpp"
#include "fastcca/correlation/correlation.hpp"
#include "fastcca/hinge/hinge.hpp"
#include "fastcca/kernels/dual.hpp"
#include "fastcca/kernels/features.hpp"
#include "fastcca/kernels/incomplete_cholesky.hpp"
#include "fastcca/linalg/largest_eigenvalues.hpp"
#include "fastcca/linalg/svd.hpp"
#include "fastcca/moments/moments.hpp"
#include "fastcca/moments/sparse_products.hpp"
#include "fastcca/retrieval/bfloat16_tile.hpp"
#include "fastcca/retrieval/top_k.hpp"
#include "fastcca/solver/cross_validation.hpp"
#include "fastcca/solver/data_solvers.hpp"
#include "fastcca/warp/warp.hpp"

namespace fastcca {

// Landmarks as they are handed in: the points, of which kGiven needs the number alone.
template <typename T>
struct LandmarkPoints {
    KernelSpec kernel;
    MatrixView<T> points;
};

// One view for the moments of features: see FeatureMap and FeatureMoments.
template <typename T>
struct ViewLandmarks {
    LandmarkPoints<T> points;
    Matrix<double> factor;
    Vector<T> shift;
    bool late = false;
};

// What depends on the type of the data.
template <typename T>
struct TypedLevel {
    std::shared_ptr<Scratch<T>> (*scratch)(Index rows, Index cols);
    // in_double: products in double, whatever T is.
    MomentSums (*moments)(const std::vector<MatrixView<T>>& views, const double* weights, bool in_double);
    // The same of rows that come in batches.
    std::shared_ptr<MomentsAccumulator<T>> (*moments_stream)(Index columns);
    void (*add_rows)(MomentsAccumulator<T>&, const std::vector<MatrixView<T>>& views);
    MomentSums (*finish_rows)(const MomentsAccumulator<T>&);
    CentredView (*centre)(const MatrixView<T>& data, const Vector<double>& weights, const std::string& name);

    Matrix<T> (*kernel_matrix)(const KernelSpec&, const MatrixView<T>& Z, const MatrixView<T>& X);
    Matrix<T> (*symmetric_kernel_matrix)(const KernelSpec&, const MatrixView<T>& X);
    Matrix<T> (*kernel_scores)(const LandmarkPoints<T>&, const MatrixView<T>& X,
                               const Matrix<double>& coefficients, const Vector<double>& offset);
    std::shared_ptr<KernelColumns<T>> (*kernel_columns)(const KernelSpec&, const MatrixView<T>& X);
    std::shared_ptr<PivotedCholesky<T>> (*pivoted_cholesky)(std::shared_ptr<KernelColumns<T>>,
                                                            const PivotedCholeskyOptions&,
                                                            Vector<double> weights);
    bool (*cholesky_step)(PivotedCholesky<T>&);
    std::shared_ptr<FeatureMoments<T>> (*feature_moments)(const ViewLandmarks<T>& x,
                                                          const ViewLandmarks<T>& y, bool with_cross);
    void (*add_features)(FeatureMoments<T>&, const FeatureInput<T>& x, const FeatureInput<T>& y,
                         const double* weights);
    typename FeatureMoments<T>::Sums (*finish_features)(const FeatureMoments<T>&);

    double (*correlation_loss)(const MatrixView<T>& H1, const MatrixView<T>& H2, const CorrelationOptions&,
                               T* G1, T* G2);
    void (*correlation_gradients)(const MatrixView<T>& H1, const MatrixView<T>& H2,
                                  const Vector<double>& mean, const Matrix<double>& A, T* G1, T* G2);
    Matrix<double> (*correlation_factor)(const MatrixView<T>& H1, const MatrixView<T>& H2,
                                         const Vector<double>& mean);
    HingeValue (*hinge_loss)(const HingeProblem<T>&, T* grad_Z, T* grad_U);
    ContrastiveValue (*contrastive_loss)(const ContrastiveProblem<T>&, T* grad_A, T* grad_B);
    WarpResult (*warp_epoch)(const WarpEpoch<T>&, T* W, T* V);
    void (*top_k)(const MatrixView<T>& gallery, const MatrixView<T>& queries, Similarity, Index k,
                  Index* indices, T* scores);
};

// CorrelationCoefficients, in a matrix of its own.
struct Coefficients {
    double value;
    Matrix<double> A;
    double precision;
    bool by_factors;
};

struct Level {
    std::size_t size;  // of this table: both sides must have been compiled from the same sources
    const char* name;  // v2, v3, v4 or generic
    const char* compiler;

    int (*num_threads)();
    void (*set_num_threads)(int n);
    void (*with_threads)(int n, const std::function<void()>& work);  // within a ThreadScope
    void (*set_interrupt_hook)(InterruptHook);
    bool (*use_bfloat16_tiles)();
    void (*allow_bfloat16_tiles)(bool allowed);

    Matrix<double> (*inverse_sqrt)(const Matrix<double>& S, double floor);
    Matrix<double> (*polar)(const Matrix<double>& T, double eps);
    Svd (*truncated_svd)(const Matrix<double>& A, Index k, double tol);
    Vector<double> (*largest_eigenvalues)(const MatrixView<double>& stack, Index n);
    Matrix<double> (*product)(const MatrixView<double>& A, const Matrix<double>& B);
    Index (*cholesky)(Matrix<double>& S);
    void (*solve_lower)(const Matrix<double>& L, Matrix<double>& B);
    void (*solve_lower_transposed)(const Matrix<double>& L, Matrix<double>& B);
    void (*check_sparse_rows)(const SparseRows&, Index entries);
    void (*add_sparse_products)(const SparseRows&, const double* weights, double* out);

    ViewWhitening (*whiten_moments)(const MomentsView&, Index start, Index width, double reg,
                                    const std::string& name);
    Solution (*solve_moments)(const MomentsView&, Index p, Index n_components, Penalty);
    Solution (*solve_qr)(const CentredView& x, const CentredView& y, Index n_components, Penalty);
    Solution (*solve_gram)(const CentredView& x, const CentredView& y, Index n_components, Penalty);
    std::vector<std::vector<double>> (*held_out_correlations)(
        const std::vector<Fold>&, Eigen::Map<const Vector<double>> total_variation, Index p,
        const std::vector<Penalty>&, Index n_components);
    DualSolution (*solve_dual)(Matrix<double>& Kx, Matrix<double>& Ky, const DualOptions&);
    Coefficients (*correlation_coefficients)(double n, const Vector<double>& mean,
                                             const Matrix<double>& scatter, Index d1, double eps,
                                             double rounding, const CorrelationOptions&,
                                             const Matrix<double>& factor);
    TypedLevel<float> f32;
    TypedLevel<double> f64;
};

// The table of the level that this is compiled for.
const Level& this_level();

}  // namespace fastcca
