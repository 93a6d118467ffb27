#include "fastcca/level/level.hpp"

#include <utility>

#include "fastcca/linalg/dense.hpp"
#include "fastcca/linalg/roots.hpp"

#define FASTCCA_TEXT(x) FASTCCA_TEXT_(x)
#define FASTCCA_TEXT_(x) #x

namespace fastcca {
namespace {

constexpr const char* kCompiler =
#if defined(__clang__)
    "clang " __clang_version__;
#elif defined(__GNUC__)
    "gcc " __VERSION__;
#elif defined(_MSC_VER)
    "msvc " FASTCCA_TEXT(_MSC_VER);
#else
    "unknown";
#endif

template <typename T>
Landmarks<T> landmarks(const LandmarkPoints<T>& given) {
    return given.kernel.type == KernelType::kGiven ? Landmarks<T>(given.points.rows)
                                                   : Landmarks<T>(given.kernel, given.points);
}

template <typename T>
std::shared_ptr<Scratch<T>> scratch(Index rows, Index cols) {
    return std::make_shared<Scratch<T>>(rows, cols);
}

template <typename Accumulator, typename T>
MomentSums sums_of(const std::vector<MatrixView<T>>& views, const double* weights) {
    Index columns = 0;
    for (const auto& view : views) columns += view.cols;
    Accumulator accumulator(columns);
    accumulator.add(views, weights);
    return accumulator.finish();
}

template <typename T>
MomentSums moments(const std::vector<MatrixView<T>>& views, const double* weights, bool in_double) {
    return in_double ? sums_of<MomentsAccumulator<T, double>>(views, weights)
                     : sums_of<MomentsAccumulator<T>>(views, weights);
}

template <typename T>
std::shared_ptr<MomentsAccumulator<T>> moments_stream(Index columns) {
    return std::make_shared<MomentsAccumulator<T>>(columns);
}

template <typename T>
void add_rows(MomentsAccumulator<T>& stream, const std::vector<MatrixView<T>>& views) {
    stream.add(views);
}

template <typename T>
MomentSums finish_rows(const MomentsAccumulator<T>& stream) {
    return stream.finish();
}

template <typename T>
Matrix<T> scores(const LandmarkPoints<T>& points, const MatrixView<T>& X, const Matrix<double>& coefficients,
                 const Vector<double>& offset) {
    return kernel_scores<T>(landmarks(points), X, coefficients, offset);
}

template <typename T>
std::shared_ptr<KernelColumns<T>> columns(const KernelSpec& spec, const MatrixView<T>& X) {
    return std::make_shared<BuiltinColumns<T>>(spec, X);
}

template <typename T>
std::shared_ptr<PivotedCholesky<T>> pivoted_cholesky(std::shared_ptr<KernelColumns<T>> kernel,
                                                     const PivotedCholeskyOptions& options,
                                                     Vector<double> weights) {
    return std::make_shared<PivotedCholesky<T>>(std::move(kernel), options, std::move(weights));
}

template <typename T>
bool step(PivotedCholesky<T>& cholesky) {
    return cholesky.step();
}

template <typename T>
std::shared_ptr<FeatureMoments<T>> feature_moments(const ViewLandmarks<T>& x, const ViewLandmarks<T>& y,
                                                   bool with_cross) {
    const auto map = [](const ViewLandmarks<T>& view) {
        return FeatureMap<T>(landmarks(view.points), view.factor, view.late);
    };
    return std::make_shared<FeatureMoments<T>>(map(x), map(y), x.shift, y.shift, with_cross);
}

template <typename T>
void add_features(FeatureMoments<T>& moments, const FeatureInput<T>& x, const FeatureInput<T>& y,
                  const double* weights) {
    moments.add(x, y, weights);
}

template <typename T>
typename FeatureMoments<T>::Sums finish_features(const FeatureMoments<T>& moments) {
    return moments.finish();
}

template <typename T>
void gradients(const MatrixView<T>& H1, const MatrixView<T>& H2, const Vector<double>& mean,
               const Matrix<double>& A, T* G1, T* G2) {
    correlation_gradients<T, double>(H1, H2, mean, A, G1, G2);
}

template <typename T>
TypedLevel<T> typed() {
    TypedLevel<T> level{};
    level.scratch = &scratch<T>;
    level.moments = &moments<T>;
    level.moments_stream = &moments_stream<T>;
    level.add_rows = &add_rows<T>;
    level.finish_rows = &finish_rows<T>;
    level.centre = &centre<T>;
    level.kernel_matrix = &kernel_matrix<T>;
    level.symmetric_kernel_matrix = &kernel_matrix<T>;
    level.kernel_scores = &scores<T>;
    level.kernel_columns = &columns<T>;
    level.pivoted_cholesky = &pivoted_cholesky<T>;
    level.cholesky_step = &step<T>;
    level.feature_moments = &feature_moments<T>;
    level.add_features = &add_features<T>;
    level.finish_features = &finish_features<T>;
    level.correlation_loss = &correlation_loss<T>;
    level.correlation_gradients = &gradients<T>;
    level.correlation_factor = &correlation_factor<T>;
    level.hinge_loss = &hinge_loss<T>;
    level.contrastive_loss = &contrastive_loss<T>;
    level.warp_epoch = &warp_epoch<T>;
    level.top_k = &top_k<T>;
    return level;
}

Matrix<double> matrix_product(const MatrixView<double>& A, const Matrix<double>& B) {
    // C order, the transpose of F order, is read where it lies.
    using Transposed = Eigen::Map<const Matrix<double>, 0, Eigen::OuterStride<>>;
    if (A.col_stride == 1)
        return product(Transposed(A.data, A.cols, A.rows, Eigen::OuterStride<>(A.row_stride)), Op::kTranspose,
                       B);
    return product(A.map(), Op::kNone, B);
}

Coefficients coefficients(double n, const Vector<double>& mean, const Matrix<double>& scatter, Index d1,
                          double eps, double rounding, const CorrelationOptions& options,
                          const Matrix<double>& factor) {
    const CorrelationCoefficients<double> c =
        correlation_coefficients(n, mean, scatter, d1, eps, rounding, options, factor);
    return {c.value, Matrix<double>(c.A), c.precision, c.by_factors};
}

Level table() {
    Level level{};
    level.size = sizeof(Level);
    level.name = FASTCCA_LEVEL;
    level.compiler = kCompiler;
    level.num_threads = &num_threads;
    level.set_num_threads = &set_num_threads;
    level.with_threads = [](int n, const std::function<void()>& work) {
        const ThreadScope threads(n);
        work();
    };
    level.set_interrupt_hook = &set_interrupt_hook;
    level.use_bfloat16_tiles = &use_bfloat16_tiles;
    level.allow_bfloat16_tiles = &allow_bfloat16_tiles;
    level.inverse_sqrt = [](const Matrix<double>& S, double floor) { return inverse_sqrt(S, floor); };
    level.polar = [](const Matrix<double>& T, double eps) { return polar(T, eps); };
    level.truncated_svd = [](const Matrix<double>& A, Index k, double tol) {
        return truncated_svd(A, k, tol);
    };
    level.largest_eigenvalues = &largest_eigenvalues;
    level.product = &matrix_product;
    level.cholesky = [](Matrix<double>& S) { return cholesky<double>(S); };
    level.solve_lower = [](const Matrix<double>& L, Matrix<double>& B) { solve_lower<double>(L, B); };
    level.solve_lower_transposed = [](const Matrix<double>& L, Matrix<double>& B) {
        solve_lower_transposed<double>(L, B);
    };
    level.check_sparse_rows = &check_sparse_rows;
    level.add_sparse_products = &add_sparse_products;
    level.whiten_moments = &whiten_moments;
    level.solve_moments = &solve_moments;
    level.solve_qr = &solve_qr;
    level.solve_gram = &solve_gram;
    level.held_out_correlations = &held_out_correlations;
    level.solve_dual = &solve_dual;
    level.correlation_coefficients = &coefficients;
    level.f32 = typed<float>();
    level.f64 = typed<double>();
    return level;
}

}  // namespace

const Level& this_level() {
    static const Level level = table();
    return level;
}

}  // namespace fastcca
