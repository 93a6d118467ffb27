// Columns of an n × n kernel matrix, computed as they are asked for.
#pragma once

#include <functional>
#include <vector>

#include "fastcca/kernels/kernel.hpp"

namespace fastcca {

template <typename T>
class KernelColumns {
 public:
    virtual ~KernelColumns() = default;
    virtual Index size() const = 0;
    virtual Vector<double> diagonal() = 0;
    // K(rows, rows) in double.
    virtual Matrix<double> square(const std::vector<Index>& rows) = 0;
    // The pivots whose columns are wanted next. Called on one thread.
    virtual void choose(const std::vector<Index>& pivots) = 0;
    // out(j, i) = K(pivot j, first + i). Called on many threads at once.
    virtual void tile(Index first, MutableRef<T> out) = 0;
};

// A kernel of this library over the rows of X, which must outlive the object.
template <typename T>
class BuiltinColumns : public KernelColumns<T> {
 public:
    BuiltinColumns(const KernelSpec& spec, const MatrixView<T>& X) : spec_(spec), X_(X) {}
    Index size() const override { return X_.rows; }
    Vector<double> diagonal() override { return kernel_diagonal(spec_, X_); }
    Matrix<double> square(const std::vector<Index>& rows) override;
    void choose(const std::vector<Index>& pivots) override;
    void tile(Index first, MutableRef<T> out) override;

 private:
    KernelSpec spec_;
    MatrixView<T> X_;
    std::vector<Landmarks<T>> landmarks_;  // none or one
};

// A kernel that somebody else evaluates, one call per block of columns, never from two threads at once.
template <typename T>
class FunctionColumns : public KernelColumns<T> {
 public:
    // evaluate(pivots) -> K(all rows, pivots) transposed: a row per pivot, a column per point
    using Evaluate = std::function<Matrix<T>(const std::vector<Index>&)>;
    // square(rows) -> K(rows, rows)
    using Square = std::function<Matrix<double>(const std::vector<Index>&)>;

    FunctionColumns(Vector<double> diagonal, Evaluate evaluate, Square square)
        : diagonal_(std::move(diagonal)), evaluate_(std::move(evaluate)), square_(std::move(square)) {}
    Index size() const override { return diagonal_.size(); }
    Vector<double> diagonal() override { return diagonal_; }
    Matrix<double> square(const std::vector<Index>& rows) override { return square_(rows); }
    void choose(const std::vector<Index>& pivots) override { columns_ = evaluate_(pivots); }
    void tile(Index first, MutableRef<T> out) override { out = columns_.middleCols(first, out.cols()); }

 private:
    Vector<double> diagonal_;
    Evaluate evaluate_;
    Square square_;
    Matrix<T> columns_;
};

}  // namespace fastcca
