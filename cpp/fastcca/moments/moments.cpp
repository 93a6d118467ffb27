#include "fastcca/moments/moments.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/moments/packing.hpp"
#include "fastcca/moments/rows_ahead.hpp"
#include "fastcca/moments/symmetric_product.hpp"

namespace fastcca {
namespace {

// Rows of a chunk: a panel of it (24 × 128 doubles, 48 × 192 floats) stays in the first-level cache beside
// a stripe of the right factor, and float sums have at most that many terms.
template <typename T>
constexpr Index kDepth = sizeof(T) == 4 ? 192 : 128;

// Up to this many columns the products of kRowBlocks accumulators fit in the caches of the cores. Few rows
// are cut into fewer blocks: each costs a product to clear and to add.
constexpr Index kRowBlockColumns = 640;
constexpr std::size_t kRowBlocks = 16;
constexpr Index kFewChunks = 32;  // fewer than these go into one product, by panels
constexpr Index kManyChunks = 512;

// Rows packed together where panels run in parallel: the fewer barriers the better, as long
// as the packed rows stay in the last-level cache.
constexpr Index kSharedBytes = Index{12} << 20;
constexpr Index kLeastShared = 4;  // chunks: each run of them passes over the whole product once

// Panels across a block of the product; of few columns fewer, so that there are blocks for all threads.
constexpr Index kBlockPanels = 4;

constexpr Index kShiftRows = 64;

}  // namespace

template <typename T, typename P>
MomentsAccumulator<T, P>::MomentsAccumulator(Index columns) : columns_(columns) {
    const std::size_t blocks = columns <= kRowBlockColumns ? kRowBlocks : 1;
    sums_.resize(blocks);
    products_.resize(blocks);
}

// shift = x_0 + sum w (x - x_0) / sum w over rows evenly spaced among those that count: exactly x_0 where the
// column is constant. A row without weight may hold anything, and must not carry the shift away.
template <typename T, typename P>
void MomentsAccumulator<T, P>::choose_shift(const std::vector<MatrixView<T>>& views, const double* weights) {
    shift_.setZero(columns_);
    const Index rows = views.front().rows;
    std::vector<Index> counted;
    for (Index i = 0; weights && i < rows; ++i)
        if (weights[i] > 0) counted.push_back(i);
    const Index candidates = counted.empty() ? rows : static_cast<Index>(counted.size());
    const Index used = std::min(candidates, kShiftRows);
    std::vector<Index> chosen;
    std::vector<double> weight_of;
    double total = 0;
    for (Index k = 0; k < used; ++k) {
        const Index at = k * candidates / used;
        chosen.push_back(counted.empty() ? at : counted[static_cast<std::size_t>(at)]);
        weight_of.push_back(counted.empty() ? 1.0 : weights[chosen.back()]);
        total += weight_of.back();
    }
    Index column = 0;
    for (const MatrixView<T>& view : views) {
        Vector<double> first(view.cols), sum = Vector<double>::Zero(view.cols);
        for (Index j = 0; j < view.cols; ++j) first[j] = static_cast<double>(view(chosen.front(), j));
        const auto add = [&](const T* row, Index stride, double weight) {
            for (Index j = 0; j < view.cols; ++j)
                sum[j] += weight * (static_cast<double>(row[j * stride]) - first[j]);
        };
        for (std::size_t k = 0; k < chosen.size(); ++k) {
            const T* row = view.data + chosen[k] * view.row_stride;
            // A stride that the compiler knows lets it use packets.
            view.col_stride == 1 ? add(row, 1, weight_of[k]) : add(row, view.col_stride, weight_of[k]);
        }
        for (Index j = 0; j < view.cols; ++j, ++column) {
            const P shift = static_cast<P>(first[j] + sum[j] / total);
            if (std::isfinite(shift)) shift_[column] = shift;  // else the pass below reports the value
        }
    }
}

template <typename T, typename P>
void MomentsAccumulator<T, P>::add(const std::vector<MatrixView<T>>& views, const double* weights) {
    Index columns = 0;
    for (const MatrixView<T>& view : views) {
        columns += view.cols;
        if (view.rows != views.front().rows)
            throw std::invalid_argument("the views differ in their number of rows");
    }
    if (columns != columns_)
        throw std::invalid_argument("the views' columns do not add up to the accumulator's");
    if (columns == 0 || views.front().rows == 0) return;
    const Index rows = views.front().rows;
    if (shift_.size() == 0) choose_shift(views, weights);
    const Index chunks = (rows + kDepth<P> - 1) / kDepth<P>;
    if (products_.size() > 1 && chunks >= kFewChunks)
        add_by_row_blocks(views, weights);
    else
        add_by_panels(views, weights);
    double n = static_cast<double>(rows);
    if (weights) n = Eigen::Map<const Vector<double>>(weights, rows).sum();
    n_ += n;
}

// Each block of consecutive rows has its own product: no barrier before the end.
template <typename T, typename P>
void MomentsAccumulator<T, P>::add_by_row_blocks(const std::vector<MatrixView<T>>& views,
                                                 const double* weights) {
    using Product = SymmetricProduct<P>;
    const Index rows = views.front().rows;
    const Packer<T, P> packer(views, shift_.data(), weights);
    const Index chunks = (rows + kDepth<P> - 1) / kDepth<P>;
    const auto most = static_cast<Index>(products_.size());
    const Index blocks = chunks >= kManyChunks ? most : most / 2;
    parallel_for(blocks, [&](Index b) {
        auto& product = products_[static_cast<std::size_t>(b)];
        auto& sums = sums_[static_cast<std::size_t>(b)];
        if (!product) {
            product.emplace(Product::product_size(columns_), 1).setZero();
            sums.setZero(columns_);
        }
        Scratch<P> packed(Product::packed_size(columns_, kDepth<P>), 1);
        for (Index c = chunks * b / blocks; c < chunks * (b + 1) / blocks; ++c) {
            const Index start = c * kDepth<P>;
            const Index depth = std::min(kDepth<P>, rows - start);
            packer.pack(start, depth, packed.data(), sums.data());
            RowsAhead<T> ahead(views, start + depth, std::min(kDepth<P>, rows - start - depth),
                               Product::tiles(columns_));
            for (Index p = 0; p < Product::panels(columns_); ++p)
                Product::add_panel(packed.data(), columns_, depth, p, product->data(),
                                   [&] { ahead.fetch(); });
            poll();
        }
    });
}

// One product; the threads pack a run of chunks together, then distribute blocks of the product.
template <typename T, typename P>
void MomentsAccumulator<T, P>::add_by_panels(const std::vector<MatrixView<T>>& views, const double* weights) {
    using Product = SymmetricProduct<P>;
    auto& product = products_.front();
    auto& total = sums_.front();
    if (!product) {
        product.emplace(Product::product_size(columns_), 1).setZero();
        total.setZero(columns_);
    }
    const Index rows = views.front().rows;
    const Index panels = Product::panels(columns_);
    const Index side = std::clamp<Index>(panels / 5, 1, kBlockPanels), blocks = (panels + side - 1) / side;
    const Index chunk_size = Product::packed_size(columns_, kDepth<P>);
    const Index most = std::max(kLeastShared, kSharedBytes / (chunk_size * static_cast<Index>(sizeof(P))));
    const Index chunks = (rows + kDepth<P> - 1) / kDepth<P>;
    const Packer<T, P> packer(views, shift_.data(), weights);
    Scratch<P> packed(chunk_size, std::min(most, chunks));
    Matrix<double> sums(columns_, std::min(most, chunks));
    const auto depth_of = [&](Index chunk) { return std::min(kDepth<P>, rows - chunk * kDepth<P>); };
    for (Index first = 0; first < chunks; first += most) {
        const Index here = std::min(most, chunks - first);
        sums.setZero();
        parallel_for(here, [&](Index c) {
            P* to = packed.data() + c * chunk_size;
            const Index depth = depth_of(first + c);
            packer.pack((first + c) * kDepth<P>, depth, to, sums.col(c).data());
        });
        for (Index c = 0; c < here; ++c) total += sums.col(c);
        // By square blocks of panels, of which both factors and the product stay in the second level of cache
        // while all chunks pass by; the last rows first, of which the blocks are whole.
        parallel_for(blocks * (blocks + 1) / 2, [&](Index task) {
            Index row = blocks - 1, column = task;
            for (; column > row; --row) column -= row + 1;
            const Index end = std::min(panels, (row + 1) * side);
            for (Index c = 0; c < here; ++c)
                for (Index p = row * side; p < end; ++p)
                    Product::add_block(packed.data() + c * chunk_size, columns_, depth_of(first + c), p,
                                       column * side, std::min(p, (column + 1) * side - 1) + 1,
                                       product->data(), [] {});
        });
        poll();
    }
}

template <typename T, typename P>
MomentSums MomentsAccumulator<T, P>::finish() const {
    Matrix<double> scatter(columns_, columns_);
    MomentSums out = finish(scatter);
    out.scatter = std::move(scatter);
    return out;
}

template <typename T, typename P>
MomentSums MomentsAccumulator<T, P>::finish(Eigen::Ref<Matrix<double>> scatter) const {
    using Product = SymmetricProduct<P>;
    MomentSums out;
    out.n = n_;
    out.shift = Vector<double>::Zero(columns_);
    out.offset = Vector<double>::Zero(columns_);
    if (n_ <= 0) {
        scatter.setZero();
        return out;
    }
    out.shift = shift_.template cast<double>();
    for (const auto& sums : sums_)
        if (sums.size() > 0) out.offset += sums;
    out.offset /= n_;
    // Column blocks in parallel, the row blocks' products added in order.
    const Index width = SymmetricProduct<P>::kPanel;
    std::atomic<bool> finite{true};
    parallel_for((columns_ + width - 1) / width, [&](Index block) {
        const Index end = std::min(columns_, (block + 1) * width);
        for (Index j = block * width; j < end; ++j)
            for (Index i = j; i < columns_;) {
                const Index stop = std::min(columns_, (i / width + 1) * width);  // one panel's run of rows
                const Index at = Product::position(i, j);
                auto to = scatter.col(j).segment(i, stop - i);
                to.setZero();
                for (const auto& product : products_)
                    if (product) to += product->col(0).segment(at, stop - i);
                to -= (n_ * out.offset[j]) * out.offset.segment(i, stop - i);
                if ((0 * to.array()).sum() != 0) finite = false;  // NaN
                i = stop;
            }
    });
    // A second meeting: the upper triangle mirrors columns that other tasks wrote.
    parallel_for((columns_ + width - 1) / width, [&](Index block) {
        const Index start = block * width, end = std::min(columns_, start + width);
        for (Index i = 0; i < start; i += width)
            scatter.block(i, start, width, end - start) =
                scatter.block(start, i, end - start, width).transpose();
        for (Index j = start; j < end; ++j) {
            // The diagonal is a sum of squares: what rounding leaves below zero is zero.
            if (scatter(j, j) < 0) scatter(j, j) = 0;
            for (Index i = start; i < j; ++i) scatter(i, j) = scatter(j, i);
        }
    });
    if (!finite) throw NumericalError("the products of columns overflow: scale the data down");
    return out;
}

template class MomentsAccumulator<float>;
template class MomentsAccumulator<double>;
template class MomentsAccumulator<float, double>;

}  // namespace fastcca
