#include "fastcca/solver/centring.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/solver/solution.hpp"

namespace fastcca {
namespace {

constexpr Index kBlock = 512;  // rows per task: a function of nothing but this

template <typename T>
void throw_not_finite(const MatrixView<T>& data, const std::string& name) {
    for (Index i = 0; i < data.rows; ++i)
        for (Index j = 0; j < data.cols; ++j)
            if (!std::isfinite(data(i, j)))
                throw std::invalid_argument(name + " contains " +
                                            (std::isnan(data(i, j)) ? "NaN" : "infinity") + " at row " +
                                            std::to_string(i) + ", column " + std::to_string(j));
}

}  // namespace

template <typename T>
CentredView centre(const MatrixView<T>& data, const Vector<double>& weights, const std::string& name) {
    const Index n = data.rows, d = data.cols, blocks = (n + kBlock - 1) / kBlock;
    const auto map = data.map();
    CentredView view;
    view.name = name;
    view.width = d;
    view.n = weights.size() > 0 ? weights.sum() : static_cast<double>(n);
    Matrix<double>& X = view.data;
    X.resize(n, d);

    // One sum per block and column, then over the blocks in their order.
    Matrix<double> partial(d, blocks);
    const auto for_blocks = [&](const auto& task) {
        parallel_for(blocks, [&](Index b) {
            const Index start = b * kBlock, count = std::min(kBlock, n - start);
            partial.col(b) = task(X.middleRows(start, count), start, count);
        });
        return Vector<double>(partial.rowwise().sum());
    };
    const auto weighted_sums = [&](const auto& rows, Index start, Index count) -> Vector<double> {
        if (weights.size() == 0) return rows.colwise().sum().transpose();
        return rows.transpose() * weights.segment(start, count);
    };

    // m₀ = Σ w x / N, a first estimate of the mean …
    Vector<double> mean = for_blocks([&](auto rows, Index start, Index count) {
                              rows = map.middleRows(start, count).template cast<double>();
                              return weighted_sums(rows, start, count);
                          }) /
                          view.n;
    if (!mean.allFinite()) {
        throw_not_finite(data, name);
        throw_overflow(name);
    }
    // … whose rounding is taken out again: m = m₀ + Σ w (x - m₀) / N
    const Vector<double> correction = for_blocks([&](auto rows, Index start, Index count) {
                                          rows.rowwise() -= mean.transpose();
                                          return weighted_sums(rows, start, count);
                                      }) /
                                      view.n;
    const Vector<double> squares = for_blocks([&](auto rows, Index start, Index count) -> Vector<double> {
        rows.rowwise() -= correction.transpose();
        if (weights.size() > 0) rows.array().colwise() *= weights.segment(start, count).array().sqrt();
        return rows.colwise().squaredNorm().transpose();
    });
    mean += correction;
    if (!squares.allFinite()) throw_overflow(name);

    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (Index j = 0; j < d; ++j)
        if (!is_constant(squares[j], view.n, mean[j], eps)) view.kept.push_back(j);
    const auto r = static_cast<Index>(view.kept.size());
    if (r == 0) throw_all_constant(name);
    if (r < d) {
        for (Index j = 0; j < r; ++j) X.col(j) = X.col(view.kept[static_cast<std::size_t>(j)]);
        X.conservativeResize(n, r);
    }
    return view;
}

template CentredView centre<float>(const MatrixView<float>&, const Vector<double>&, const std::string&);
template CentredView centre<double>(const MatrixView<double>&, const Vector<double>&, const std::string&);

}  // namespace fastcca
