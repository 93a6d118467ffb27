// Rows of a view as the columns of a matrix: less a shift, or of unit length.
#pragma once

#include "fastcca/base/scratch.hpp"

namespace fastcca {

// X (d × n) = (view − shift)ᵀ and the squared length of each column; `shift` of d entries, or nullptr. Throws
// NonFiniteError of view `which`, NumericalError(overflow) where finite entries have no finite squares.
template <typename T>
void load_rows(const MatrixView<T>& view, std::size_t which, const T* shift, const char* overflow,
               Scratch<T>& X, Vector<double>& squares);

// X ← X / ‖X‖ column by column, and `squares` become the lengths, right for columns whose squares underflow
// too; a column of zeros stays one.
template <typename T>
void normalise_columns(Scratch<T>& X, Vector<double>& squares);

}  // namespace fastcca
