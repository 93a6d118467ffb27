// Packs rows of stacked views, centred and weighted, into the panels of SymmetricProduct.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/unrolled.hpp"
#include "fastcca/moments/moments.hpp"
#include "fastcca/moments/symmetric_product.hpp"

namespace fastcca {

// A run of columns of one view that lies inside one panel.
struct PanelSegment {
    std::size_t view;
    Index view_column;  // its first column in the view …
    Index column;       // … and among all columns
    Index width;
};

template <typename T>
std::vector<PanelSegment> panel_segments(const std::vector<MatrixView<T>>& views, Index panel_width) {
    std::vector<PanelSegment> segments;
    Index column = 0;
    for (std::size_t v = 0; v < views.size(); ++v) {
        for (Index done = 0; done < views[v].cols;) {
            const Index width = std::min(views[v].cols - done, panel_width - column % panel_width);
            segments.push_back({v, done, column, width});
            done += width;
            column += width;
        }
    }
    return segments;
}

// Data of type T, packed as P.
template <typename T, typename P>
class Packer {
 public:
    Packer(const std::vector<MatrixView<T>>& views, const P* shift, const double* weights)
        : views_(views), segments_(panel_segments(views, kPanel)), shift_(shift), weights_(weights) {}

    // Packs rows [start, start + depth) into `packed`, with zeros for padding columns:
    //     sqrt(w) (x - shift)
    // and adds sum w (x - shift) to `sums`. Throws NonFiniteError.
    void pack(Index start, Index depth, P* packed, double* sums) const {
        for (const PanelSegment& s : segments_) {
            const Index panel = s.column / kPanel;
            P* out = packed + panel * depth * kPanel + s.column % kPanel;
            const MatrixView<T>& view = views_[s.view];
            const T* in = view.data + start * view.row_stride + s.view_column * view.col_stride;
            const bool by_rows = view.col_stride == 1;
            if (by_rows && !weights_ && s.width == kPanel)
                pack_full(in, view.row_stride, depth, shift_ + s.column, out, sums + s.column);
            else if (by_rows)
                pack_rows(in, view.row_stride, start, depth, s, out, sums + s.column);
            else
                pack_columns(in, view, start, depth, s, out, sums + s.column);
        }
        if (const PanelSegment& s = segments_.back(); (s.column + s.width) % kPanel != 0) {
            const Index columns = s.column + s.width, used = columns % kPanel;
            P* row = packed + (columns - used) * depth;
            for (Index k = 0; k < depth; ++k, row += kPanel) std::fill(row + used, row + kPanel, P(0));
        }
        // NaN and infinity survive every sum, so the sums of the chunk tell for all of its entries at once.
        for (const PanelSegment& s : segments_)
            for (Index c = s.column; c < s.column + s.width; ++c)
                if (!std::isfinite(sums[c])) return report(start, depth);
    }

 private:
    static constexpr Index kPanel = SymmetricProduct<P>::kPanel;

    // The common case, with the width known to the compiler: contiguous rows, no weights.
    static void pack_full(const T* in, Index stride, Index depth, const P* shift, P* out, double* sums) {
        if constexpr (std::is_same_v<T, double>) {  // whose sums fit into registers
            using namespace packets;
            using Packet = typename SymmetricProduct<T>::Packet;
            constexpr int kLanes = SymmetricProduct<T>::kLanes, kVectors = SymmetricProduct<T>::kVectors;
            Packet centre[kVectors], sum[kVectors];
            unrolled<kVectors>([&](auto v) { centre[v] = ploadu<Packet>(shift + v * kLanes); });
            unrolled<kVectors>([&](auto v) { sum[v] = ploadu<Packet>(sums + v * kLanes); });
            for (Index k = 0; k < depth; ++k, in += stride, out += kPanel)
                unrolled<kVectors>([&](auto v) {
                    const Packet centred = psub(ploadu<Packet>(in + v * kLanes), centre[v]);
                    pstore(out + v * kLanes, centred);
                    sum[v] = padd(sum[v], centred);
                });
            unrolled<kVectors>([&](auto v) { pstoreu(sums + v * kLanes, sum[v]); });
        } else {
            double sum[kPanel] = {};
            for (Index k = 0; k < depth; ++k, in += stride, out += kPanel)
                for (Index c = 0; c < kPanel; ++c) {
                    const P centred = static_cast<P>(in[c]) - shift[c];
                    out[c] = centred;
                    sum[c] += static_cast<double>(centred);
                }
            for (Index c = 0; c < kPanel; ++c) sums[c] += sum[c];
        }
    }

    void pack_rows(const T* in, Index stride, Index start, Index depth, const PanelSegment& s, P* out,
                   double* sums) const {
        const P* shift = shift_ + s.column;
        for (Index k = 0; k < depth; ++k, in += stride, out += kPanel) {
            const double root = root_weight(start + k);
            for (Index c = 0; c < s.width; ++c) {
                const P centred = static_cast<P>(root) * (static_cast<P>(in[c]) - shift[c]);
                out[c] = centred;
                sums[c] += root * static_cast<double>(centred);
            }
        }
    }

    // Any strides: down one column after the other, which is contiguous in F order.
    void pack_columns(const T* in, const MatrixView<T>& view, Index start, Index depth, const PanelSegment& s,
                      P* out, double* sums) const {
        for (Index c = 0; c < s.width; ++c) {
            const T* column = in + c * view.col_stride;
            const P shift = shift_[s.column + c];
            double sum = 0;
            for (Index k = 0; k < depth; ++k) {
                const double root = root_weight(start + k);
                const P centred =
                    static_cast<P>(root) * (static_cast<P>(column[k * view.row_stride]) - shift);
                out[k * kPanel + c] = centred;
                sum += root * static_cast<double>(centred);
            }
            sums[c] += sum;
        }
    }

    double root_weight(Index row) const { return weights_ ? std::sqrt(weights_[row]) : 1.0; }

    void report(Index start, Index depth) const {
        for (std::size_t v = 0; v < views_.size(); ++v)
            for (Index i = start; i < start + depth; ++i)
                for (Index j = 0; j < views_[v].cols; ++j) {
                    const T x = views_[v](i, j);
                    if (!std::isfinite(x)) throw NonFiniteError(v, i, j, std::isnan(x));
                }
        throw std::invalid_argument("the sum of a column overflows: scale the data down");
    }

    const std::vector<MatrixView<T>>& views_;
    std::vector<PanelSegment> segments_;
    const P* shift_;
    const double* weights_;
};

}  // namespace fastcca
