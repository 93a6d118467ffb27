#include "fastcca/solver/centring.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/solver/rank_rule.hpp"
#include "fastcca/solver/solution.hpp"

namespace fastcca {
namespace {

constexpr Index kBlock = 512;  // rows per task: a function of nothing but this

template <typename T>
void throw_not_finite(const MatrixView<T>& data, const std::string& name) {
    for (Index i = 0; i < data.rows; ++i)
        for (Index j = 0; j < data.cols; ++j)
            if (!std::isfinite(data(i, j)))
                throw std::invalid_argument(
                    "Input " + name + " contains " + (std::isnan(data(i, j)) ? "NaN" : "infinity") +
                    ": the first is at row " + std::to_string(i) + ", column " + std::to_string(j));
}

}  // namespace

Matrix<double> CentredView::data() const {
    Matrix<double> X(rows, columns());
    parallel_for((rows + kBlock - 1) / kBlock, [&](Index b) {
        const Index start = b * kBlock, count = std::min(kBlock, rows - start);
        fill(start, count, X.middleRows(start, count));
    });
    return X;
}

template <typename T>
CentredView centre(const MatrixView<T>& data, const Vector<double>& weights, const std::string& name) {
    const Index n = data.rows, d = data.cols, blocks = (n + kBlock - 1) / kBlock;
    CentredView view;
    view.name = name;
    view.width = d;
    view.rows = n;
    view.n = weights.size() > 0 ? weights.sum() : static_cast<double>(n);

    // One sum per block and column, then over the blocks in their order.
    const auto over_blocks = [&](const auto& of_rows) {
        Matrix<double> partial(d, blocks);
        parallel_for(blocks, [&](Index b) {
            const Index start = b * kBlock, count = std::min(kBlock, n - start);
            Matrix<double> rows = data.map().middleRows(start, count).template cast<double>();
            partial.col(b) = of_rows(rows, start, count);
        });
        return partial;
    };
    const auto weighted_sums = [&](const Matrix<double>& rows, Index start, Index count) -> Vector<double> {
        if (weights.size() == 0) return rows.colwise().sum().transpose();
        return rows.transpose() * weights.segment(start, count);
    };

    // m₀ = Σ w x / N, a first estimate of the mean …
    Vector<double> mean = over_blocks(weighted_sums).rowwise().sum() / view.n;
    if (!mean.allFinite()) {
        throw_not_finite(data, name);
        throw_overflow(name);
    }
    // … whose rounding is taken out again: m = m₀ + Σ w (x - m₀) / N. Beside it max |√w (x - m₀)|.
    Matrix<double> largest_of(d, blocks);
    const Matrix<double> corrections = over_blocks([&](Matrix<double>& rows, Index start, Index count) {
        rows.rowwise() -= mean.transpose();
        Vector<double> sums = weighted_sums(rows, start, count);
        if (weights.size() > 0) rows.array().colwise() *= weights.segment(start, count).array().sqrt();
        largest_of.col(start / kBlock) = rows.cwiseAbs().colwise().maxCoeff().transpose();
        return sums;
    });
    const Vector<double> correction = corrections.rowwise().sum() / view.n;
    const Vector<double> largest = largest_of.rowwise().maxCoeff();
    // Squares in units of the largest, which neither overflow nor underflow.
    const Vector<double> unit = (largest.array() > 0).select(largest, 1.0);
    const auto centred_rows = [mean, correction, weights](Matrix<double>& rows, Index start, Index count) {
        rows.rowwise() -= mean.transpose();
        rows.rowwise() -= correction.transpose();
        if (weights.size() > 0) rows.array().colwise() *= weights.segment(start, count).array().sqrt();
    };
    const Matrix<double> squares =
        over_blocks([&](Matrix<double>& rows, Index start, Index count) -> Vector<double> {
            centred_rows(rows, start, count);
            for (Index j = 0; j < d; ++j) rows.col(j) /= unit[j];
            return rows.colwise().squaredNorm().transpose();
        });
    const Vector<double> norms = unit.cwiseProduct(squares.rowwise().sum().cwiseSqrt());
    if (!norms.cwiseAbs2().allFinite()) throw_overflow(name);

    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (Index j = 0; j < d; ++j)
        if (!is_constant(norms[j], view.n, mean[j] + correction[j], eps)) view.kept.push_back(j);
    if (view.kept.empty()) throw_all_constant(name);
    view.norms = norms(view.kept);
    view.noise.resize(view.columns());
    for (Index i = 0; i < view.columns(); ++i) {
        const Index j = view.kept[static_cast<std::size_t>(i)];
        view.noise[i] = entry_noise(norms[j], view.n, mean[j] + correction[j], eps);
    }
    view.fill = [data, centred_rows, kept = view.kept, norms](Index start, Index count,
                                                              MutableRef<double> out) {
        Matrix<double> rows = data.map().middleRows(start, count).template cast<double>();
        centred_rows(rows, start, count);
        for (std::size_t i = 0; i < kept.size(); ++i)
            out.col(static_cast<Index>(i)) = rows.col(kept[i]) / norms[kept[i]];
    };
    return view;
}

template CentredView centre<float>(const MatrixView<float>&, const Vector<double>&, const std::string&);
template CentredView centre<double>(const MatrixView<double>&, const Vector<double>&, const std::string&);

}  // namespace fastcca
