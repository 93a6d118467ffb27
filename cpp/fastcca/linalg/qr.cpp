#include "fastcca/linalg/qr.hpp"

#include <Eigen/Householder>
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "fastcca/base/thread_pool.hpp"
#include "fastcca/linalg/reflectors.hpp"

namespace fastcca {
namespace {

// Columns whose reflectors are gathered in one block reflector, and columns that a task applies it to.
constexpr Index kPanelColumns = 64;
constexpr Index kTileColumns = 128;
// Columns that are factored one by one.
constexpr Index kNarrow = 8;
// Blocks whose R factors are held at once where Q is not asked for.
constexpr Index kGroup = 16;

// One column after the other: H_j = I − τ_j v vᵀ, and T(0:j, j) = −τ_j T(0:j, 0:j) V(:, 0:j)ᵀ v.
void factor_narrow(MutableRef<double> A, MutableRef<double> T) {
    const Index n = A.rows(), b = A.cols();
    for (Index j = 0; j < b; ++j) {
        double tau, beta;
        auto column = A.col(j).tail(n - j);
        column.makeHouseholderInPlace(tau, beta);
        A(j, j) = beta;
        const auto v = A.col(j).tail(n - j - 1);  // below its leading 1
        for (Index i = j + 1; i < b; ++i) {
            auto c = A.col(i).tail(n - j - 1);
            const double w = tau * (A(j, i) + v.dot(c));
            A(j, i) -= w;
            c -= w * v;
        }
        for (Index i = 0; i < j; ++i) T(i, j) = -tau * (A(j, i) + A.col(i).tail(n - j - 1).dot(v));
        T.col(j).head(j) = T.topLeftCorner(j, j).triangularView<Eigen::Upper>() * T.col(j).head(j).eval();
        T(j, j) = tau;
    }
}

// Factors a panel (rows ≥ cols) in place: R above, V below its diagonal; T as above. By halves (Elmroth and
// Gustavson, "Applying recursion to serial and parallel QR factorization", 2000):
//     V = [V₁ V₂],  T = [T₁  −T₁ (V₁ᵀV₂) T₂]
//                       [0          T₂     ]
void factor_panel(MutableRef<double> A, MutableRef<double> T) {
    const Index n = A.rows(), b = A.cols();
    if (b <= kNarrow) return factor_narrow(A, T);
    const Index half = b / 2, rest = b - half;
    factor_panel(A.leftCols(half), T.topLeftCorner(half, half));
    apply_reflector(A.leftCols(half), T.topLeftCorner(half, half), Op::kTranspose, A.rightCols(rest));
    factor_panel(A.bottomRightCorner(n - half, rest), T.bottomRightCorner(rest, rest));
    // V₁ᵀV₂ over the rows of V₂: those within its unit triangle, then those below.
    const auto V2_top = A.block(half, half, rest, rest).triangularView<Eigen::UnitLower>();
    Matrix<double> cross = A.block(half, 0, rest, half).transpose() * V2_top;
    if (n > b)
        serial_gemm<double>(1, A.bottomLeftCorner(n - b, half), Op::kTranspose,
                            A.bottomRightCorner(n - b, rest), Op::kNone, 1, cross);
    cross = (T.topLeftCorner(half, half).triangularView<Eigen::Upper>() * cross).eval();
    T.topRightCorner(half, rest) = -(cross * T.bottomRightCorner(rest, rest).triangularView<Eigen::Upper>());
}

// Runs task(i) for all i: on the pool where they are worth it.
void for_tiles(Index n_tiles, double flops, const std::function<void(Index)>& task) {
    if (flops < 4e6) {
        for (Index i = 0; i < n_tiles; ++i) task(i);
    } else {
        parallel_for(n_tiles, task);
    }
}

double update_flops(Index rows, Index cols, Index rhs) {
    return 4.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(rhs);
}

// Factors A (rows ≥ cols) in place as factor_panel does, panel by panel; the T of each stand side by side.
Matrix<double> factor(MutableRef<double> A) {
    const Index n = A.rows(), d = A.cols();
    Matrix<double> T = Matrix<double>::Zero(std::min(kPanelColumns, d), d);
    for (Index start = 0; start < d; start += kPanelColumns) {
        const Index b = std::min(kPanelColumns, d - start), rest = d - start - b;
        poll();
        factor_panel(A.block(start, start, n - start, b), T.block(0, start, b, b));
        for_tiles((rest + kTileColumns - 1) / kTileColumns, update_flops(n - start, b, rest), [&](Index i) {
            const Index first = start + b + i * kTileColumns;
            apply_reflector(A.block(start, start, n - start, b), T.block(0, start, b, b), Op::kTranspose,
                            A.block(start, first, n - start, std::min(kTileColumns, d - first)));
        });
    }
    return T;
}

// Q over A, from A as factor() left it: Q = H₁ H₂ … [top; 0] with top (d × d) instead of the identity.
void form_q(MutableRef<double> A, ConstRef<double> T, ConstRef<double> top) {
    const Index n = A.rows(), d = A.cols();
    const Matrix<double> V = A;
    for_tiles((d + kTileColumns - 1) / kTileColumns, update_flops(n, d, d), [&](Index i) {
        const Index first = i * kTileColumns, width = std::min(kTileColumns, d - first);
        auto C = A.middleCols(first, width);
        C.topRows(d) = top.middleCols(first, width);
        C.bottomRows(n - d).setZero();
        for (Index start = (d - 1) / kPanelColumns * kPanelColumns; start >= 0; start -= kPanelColumns) {
            const Index b = std::min(kPanelColumns, d - start);
            poll();
            apply_reflector(V.block(start, start, n - start, b), T.block(0, start, b, b), Op::kNone,
                            C.bottomRows(n - start));
        }
    });
}

Matrix<double> upper(ConstRef<double> A) {
    return A.topRows(std::min(A.rows(), A.cols())).template triangularView<Eigen::Upper>();
}

// Blocks of rows: four times as many rows as columns bound the extra work of the second round by a quarter.
// No block has fewer rows than columns.
struct RowBlocks {
    Index rows, count;
    RowBlocks(Index n, Index d) : rows(n), count(std::max<Index>(1, n / std::max<Index>(4 * d, 1024))) {}
    Index begin(Index i) const { return rows * i / count; }
    Index length(Index i) const { return begin(i + 1) - begin(i); }
};

// Q over A and R, with whatever signs.
Matrix<double> tall_qr(MutableRef<double> A) {
    const Index d = A.cols();
    const RowBlocks blocks(A.rows(), d);
    if (blocks.count == 1) {
        const Matrix<double> T = factor(A), R = upper(A);
        form_q(A, T, Matrix<double>::Identity(d, d));
        return R;
    }
    std::vector<Matrix<double>> T(static_cast<std::size_t>(blocks.count));
    Matrix<double> stacked(blocks.count * d, d);
    parallel_for(blocks.count, [&](Index i) {
        auto block = A.middleRows(blocks.begin(i), blocks.length(i));
        T[static_cast<std::size_t>(i)] = factor(block);
        stacked.middleRows(i * d, d) = upper(block);
    });
    const Matrix<double> R = tall_qr(stacked);
    parallel_for(blocks.count, [&](Index i) {
        form_q(A.middleRows(blocks.begin(i), blocks.length(i)), T[static_cast<std::size_t>(i)],
               stacked.middleRows(i * d, d));
    });
    return R;
}

}  // namespace

Matrix<double> qr_in_place(MutableRef<double> A) {
    if (A.rows() < A.cols()) {
        throw std::invalid_argument("qr_in_place needs at least as many rows as columns, got " +
                                    std::to_string(A.rows()) + " x " + std::to_string(A.cols()));
    }
    if (A.cols() == 0) return Matrix<double>(0, 0);
    Matrix<double> R = tall_qr(A);
    for (Index j = 0; j < A.cols(); ++j) {
        if (R(j, j) < 0.0) {
            R.row(j) *= -1.0;
            A.col(j) *= -1.0;
        }
    }
    return R;
}

ThinQr thin_qr(ConstRef<double> A) {
    const Index n = A.rows(), d = A.cols(), m = std::min(n, d);
    ThinQr qr{A.leftCols(m), Matrix<double>(m, d)};
    qr.R.leftCols(m) = qr_in_place(qr.Q);
    if (m < d) {
        gemm<double>(1.0, qr.Q, Op::kTranspose, A.rightCols(d - m), Op::kNone, 0.0, qr.R.rightCols(d - m));
    }
    return qr;
}

Matrix<double> qr_r(ConstRef<double> A) {
    if (A.rows() < A.cols()) return thin_qr(A).R;
    return qr_r(A.rows(), A.cols(),
                [&](Index start, Index count, MutableRef<double> out) { out = A.middleRows(start, count); });
}

Matrix<double> qr_r(Index n, Index d, const FillRows& fill) {
    const RowBlocks blocks(n, d);
    // [R; block; block; …] is factored, group after group.
    Matrix<double> R(0, d);
    for (Index first = 0; first < blocks.count; first += kGroup) {
        const Index count = std::min(kGroup, blocks.count - first);
        Matrix<double> stacked(R.rows() + count * d, d);
        stacked.topRows(R.rows()) = R;
        parallel_for(count, [&](Index i) {
            Matrix<double> block(blocks.length(first + i), d);
            fill(blocks.begin(first + i), block.rows(), block);
            factor(block);
            stacked.middleRows(R.rows() + i * d, d) = upper(block);
        });
        if (blocks.count > 1) factor(stacked);
        R = upper(stacked);
    }
    for (Index j = 0; j < d; ++j) {
        if (R(j, j) < 0.0) R.row(j) *= -1.0;
    }
    return R;
}

}  // namespace fastcca
