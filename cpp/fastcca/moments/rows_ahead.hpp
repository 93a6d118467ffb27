// Fetches the rows that are packed next while the multiply-add units work on those packed last.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <vector>

#include "fastcca/base/types.hpp"

namespace fastcca {

// Rows [start, start + count) of views in C or F order, a part of their cache lines at a time; views of
// other strides are left out.
template <typename T>
class RowsAhead {
 public:
    RowsAhead(const std::vector<MatrixView<T>>& views, Index start, Index count, Index parts)
        : views_(views), start_(start), count_(count) {
        if (count <= 0) return;
        Index bytes = 0;
        for (const MatrixView<T>& view : views) bytes += count * view.cols * static_cast<Index>(sizeof(T));
        part_ = bytes / kLine / parts + 1;
        if (part_ > kMostLines) part_ = 0;
        enter();
    }

    void fetch() {
        for (Index i = 0; i < part_ && view_ < views_.size(); ++i) {
#if defined(__GNUC__) || defined(__clang__)
            __builtin_prefetch(at_, 0, 2);
#endif
            if ((at_ += kLine) < end_) continue;
            if (++run_ < runs_) {
                at_ = first_ + run_ * stride_;
                end_ = at_ + length_;
            } else {
                ++view_;
                enter();
            }
        }
    }

 private:
    static constexpr Index kLine = 64;
    // With more than this between two tiles there is too little to do meanwhile.
    static constexpr Index kMostLines = 24;

    // The first run of contiguous bytes of this view, or of the next that has such.
    void enter() {
        constexpr auto kSize = static_cast<Index>(sizeof(T));
        for (; view_ < views_.size(); ++view_) {
            const MatrixView<T>& view = views_[view_];
            const bool by_rows = view.col_stride == 1;
            if (view.cols == 0 || (!by_rows && view.row_stride != 1)) continue;
            first_ = reinterpret_cast<const char*>(view.data + start_ * view.row_stride);
            run_ = 0;
            runs_ = by_rows ? count_ : view.cols;
            length_ = (by_rows ? view.cols : count_) * kSize;
            stride_ = (by_rows ? view.row_stride : view.col_stride) * kSize;
            at_ = first_;
            end_ = at_ + length_;
            return;
        }
    }

    const std::vector<MatrixView<T>>& views_;
    Index start_, count_, part_ = 0;
    std::size_t view_ = 0;
    Index run_ = 0, runs_ = 0, length_ = 0, stride_ = 0;
    const char *first_ = nullptr, *at_ = nullptr, *end_ = nullptr;
};

}  // namespace fastcca
