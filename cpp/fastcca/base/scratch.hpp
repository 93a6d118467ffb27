// Large temporaries in memory that is kept for the next call.
//
// A page that the system hands out afresh may cost more than the arithmetic done in it, and a training loop
// asks for the same temporaries thousands of times. Freed blocks are kept, up to a bound over the process;
// large ones ask for huge pages.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include "fastcca/base/types.hpp"

namespace fastcca {

// This many bytes, uninitialised, aligned for every packet. Moved, not copied.
class Block {
 public:
    Block() = default;
    explicit Block(std::size_t bytes);
    ~Block();
    Block(Block&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Block& operator=(Block&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    void* data() const { return data_; }

 private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;  // of the block, at least those asked for
};

// A matrix in a block: an Eigen::Map that owns its memory.
template <typename T>
class Scratch : public Eigen::Map<Matrix<T>, Eigen::AlignedMax> {
    using Base = Eigen::Map<Matrix<T>, Eigen::AlignedMax>;

 public:
    Scratch(Index rows, Index cols)
        : Scratch(Block(static_cast<std::size_t>(rows * cols) * sizeof(T)), rows, cols) {}
    Scratch(Scratch&& other) noexcept : Base(other), block_(std::move(other.block_)) {}
    // Takes the other's memory; any other expression is evaluated into this one's, which fixes the shape.
    Scratch& operator=(Scratch&& other) noexcept {
        block_ = std::move(other.block_);
        new (static_cast<Base*>(this)) Base(other);
        return *this;
    }
    using Base::operator=;

 private:
    Scratch(Block block, Index rows, Index cols)
        : Base(static_cast<T*>(block.data()), rows, cols), block_(std::move(block)) {}

    Block block_;
};

}  // namespace fastcca
