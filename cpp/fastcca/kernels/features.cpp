#include "fastcca/kernels/features.hpp"

#include <algorithm>

#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

constexpr Index kTile = 256;    // rows of the data a task takes
constexpr Index kChunk = 2048;  // rows between two visits to the d × d moments, which do not fit in cache

// Runs f and counts the row of a non-finite value from the start of the data.
template <typename F>
void with_position(std::size_t view, Index first, F&& f) {
    try {
        f();
    } catch (const NonFiniteError& e) {
        throw NonFiniteError(view, first + e.row, e.column, e.is_nan);
    }
}

}  // namespace

template <typename T>
FeatureMap<T>::FeatureMap(Landmarks<T> landmarks, const Matrix<double>& L, bool late)
    : landmarks_(std::move(landmarks)) {
    if (late)
        late_ = L;
    else
        L_ = L.template cast<T>();
}

template <typename T>
void FeatureMap<T>::apply(const MatrixView<T>& X, MutableRef<T> features) const {
    parallel_for((X.rows + kTile - 1) / kTile, [&](Index task) {
        const Index first = task * kTile;
        const Index rows = std::min(kTile, X.rows - first);
        with_position(0, first, [&] {
            landmarks_.tile(X.middle_rows(first, rows), 0, features.middleCols(first, rows));
        });
    });
    if (!late()) solve_lower<T>(L_, features);
}

template <typename T>
void FeatureMap<T>::finish(MutableRef<double> sums) const {
    if (late()) solve_lower<double>(late_, sums);
}

template <typename T>
FeatureMoments<T>::FeatureMoments(FeatureMap<T> x, FeatureMap<T> y, Vector<T> x_shift, Vector<T> y_shift,
                                  bool with_cross)
    : maps_{std::move(x), std::move(y)},
      shifts_{std::move(x_shift), std::move(y_shift)},
      moments_(maps_[0].size() + maps_[1].size()) {
    const Index d = shifts_[0].size() + shifts_[1].size();
    if (with_cross) columns_.cross.setZero(maps_[0].size() + maps_[1].size(), d);
    columns_.sum.setZero(d);
    columns_.square.setZero(d);
}

template <typename T>
void FeatureMoments<T>::add(const FeatureInput<T>& x, const FeatureInput<T>& y, const double* weights) {
    const std::array<FeatureInput<T>, 2> inputs{x, y};
    const Index n = x.columns.rows;
    const Index chunk = std::min(n, kChunk);
    // Features of a chunk, a column per row of the data: for the moments, matrices in C order.
    std::array<Matrix<T>, 2> computed;
    for (Index first = 0; first < n; first += chunk) {
        const Index rows = std::min(chunk, n - first);
        const double* w = weights ? weights + first : nullptr;
        std::vector<ColumnPerRow> features;
        std::vector<MatrixView<T>> views;
        for (std::size_t v = 0; v < 2; ++v) {
            const FeatureMap<T>& map = maps_[v];
            const MatrixView<T> block = inputs[v].kernel_input.middle_rows(first, rows);
            const MatrixView<T>& known = inputs[v].features;
            if (known.data) {
                views.push_back(known.middle_rows(first, rows));
            } else {
                computed[v].resize(map.size(), rows);
                with_position(v, first, [&] { map.apply(block, computed[v]); });
                views.push_back({computed[v].data(), rows, map.size(), map.size(), 1});
            }
            features.emplace_back(views[v].data, map.size(), rows, Eigen::OuterStride<>(views[v].row_stride));
            const Vector<double> diagonal = inputs[v].diagonal
                                                ? inputs[v].diagonal->segment(first, rows).eval()
                                                : kernel_diagonal(map.spec(), block);
            traces_[v] += w ? diagonal.dot(Eigen::Map<const Vector<double>>(w, rows)) : diagonal.sum();
        }
        moments_.add(views, w);
        add_columns(inputs, first, rows, w, features);
    }
}

template <typename T>
void FeatureMoments<T>::add_columns(const std::array<FeatureInput<T>, 2>& inputs, Index first, Index rows,
                                    const double* weights, const std::vector<ColumnPerRow>& features) {
    Index column = 0;
    for (std::size_t v = 0; v < 2; ++v) {
        const Index d = shifts_[v].size();
        // Shifted and weighted, a column per row of the data.
        Matrix<T> c = inputs[v].columns.middle_rows(first, rows).map().transpose();
        c.colwise() -= shifts_[v];
        Matrix<T> wc = c;
        if (weights)
            for (Index i = 0; i < rows; ++i) wc.col(i) *= static_cast<T>(weights[i]);
        for (Index i = 0; i < rows; ++i) {
            columns_.sum.segment(column, d) += wc.col(i).template cast<double>();
            columns_.square.segment(column, d) +=
                wc.col(i).template cast<double>().cwiseProduct(c.col(i).template cast<double>());
        }
        Index row = 0;
        for (const ColumnPerRow& g : features) {
            if (columns_.cross.size() == 0) break;
            Matrix<T> product(g.rows(), d);
            gemm<T>(1, g, Op::kNone, wc, Op::kTranspose, 0, product);
            columns_.cross.block(row, column, g.rows(), d) += product.template cast<double>();
            row += g.rows();
        }
        column += d;
    }
}

template <typename T>
typename FeatureMoments<T>::Sums FeatureMoments<T>::finish() const {
    Sums sums{moments_.finish(), columns_, {}};
    MomentSums& moments = sums.moments;
    const std::array<Index, 2> sizes{maps_[0].size(), maps_[1].size()}, starts{0, sizes[0]};
    if (maps_[0].late() || maps_[1].late()) {
        const auto block = [&](std::size_t v, std::size_t w) {
            return moments.scatter.block(starts[v], starts[w], sizes[v], sizes[w]);
        };
        // L⁻¹ B M⁻ᵀ of a block B
        const auto both_sides = [&](std::size_t v, std::size_t w) -> Matrix<double> {
            Matrix<double> left = block(v, w);
            maps_[v].finish(left);
            Matrix<double> right = left.transpose();
            maps_[w].finish(right);
            return right.transpose();
        };
        for (std::size_t v = 0; v < 2; ++v) {
            const Matrix<double> within = both_sides(v, v);
            block(v, v) = 0.5 * (within + within.transpose());
        }
        block(0, 1) = both_sides(0, 1);
        block(1, 0) = block(0, 1).transpose();
        Matrix<double> means(moments.shift.size(), 2);
        means << moments.shift, moments.offset;
        for (std::size_t v = 0; v < 2; ++v) {
            maps_[v].finish(means.middleRows(starts[v], sizes[v]));
            if (sums.columns.cross.size() > 0)
                maps_[v].finish(sums.columns.cross.middleRows(starts[v], sizes[v]));
        }
        moments.shift = means.col(0);
        moments.offset = means.col(1);
    }
    for (std::size_t v = 0; v < 2; ++v) {
        const auto mean = (moments.shift + moments.offset).segment(starts[v], sizes[v]);
        const double held =
            moments.scatter.diagonal().segment(starts[v], sizes[v]).sum() + moments.n * mean.squaredNorm();
        sums.traces[v] = {std::max(traces_[v] - held, 0.0), traces_[v]};
    }
    return sums;
}

template <typename T>
Matrix<T> kernel_scores(const Landmarks<T>& landmarks, const MatrixView<T>& X,
                        const Matrix<double>& coefficients, const Vector<double>& offset) {
    Matrix<T> scores(coefficients.cols(), X.rows);
    parallel_for((X.rows + kTile - 1) / kTile, [&](Index task) {
        const Index first = task * kTile;
        const Index rows = std::min(kTile, X.rows - first);
        Matrix<T> kernel(landmarks.size(), rows);
        with_position(0, first, [&] { landmarks.tile(X.middle_rows(first, rows), 0, kernel); });
        Matrix<double> z(coefficients.cols(), rows);
        gemm<double>(1, coefficients, Op::kTranspose, Matrix<double>(kernel.template cast<double>()),
                     Op::kNone, 0, z);
        z.colwise() -= offset;
        scores.middleCols(first, rows) = z.template cast<T>();
    });
    return scores;
}

#define FASTCCA_INSTANTIATE(T)                                                                         \
    template Matrix<T> kernel_scores(const Landmarks<T>&, const MatrixView<T>&, const Matrix<double>&, \
                                     const Vector<double>&);
FASTCCA_INSTANTIATE(float)
FASTCCA_INSTANTIATE(double)
#undef FASTCCA_INSTANTIATE

template class FeatureMap<float>;
template class FeatureMap<double>;
template class FeatureMoments<float>;
template class FeatureMoments<double>;

}  // namespace fastcca
