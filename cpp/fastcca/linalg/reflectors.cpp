#include "fastcca/linalg/reflectors.hpp"

namespace fastcca {

void apply_reflector(ConstRef<double> V, ConstRef<double> T, Op op, MutableRef<double> C) {
    const Index b = V.cols(), below = V.rows() - b;
    const auto top = V.topRows(b).triangularView<Eigen::UnitLower>();
    const auto top_transposed = V.topRows(b).transpose().triangularView<Eigen::UnitUpper>();
    // W = Vᵀ C,  W ← op(T) W,  C ← C − V W
    Matrix<double> W = top_transposed * C.topRows(b);
    if (below > 0)
        serial_gemm<double>(1, V.bottomRows(below), Op::kTranspose, C.bottomRows(below), Op::kNone, 1, W);
    if (op == Op::kTranspose) {
        W = (T.transpose().triangularView<Eigen::Lower>() * W).eval();
    } else {
        W = (T.triangularView<Eigen::Upper>() * W).eval();
    }
    C.topRows(b) -= top * W;
    if (below > 0)
        serial_gemm<double>(-1, V.bottomRows(below), Op::kNone, W, Op::kNone, 1, C.bottomRows(below));
}

Matrix<double> reflector_factor(ConstRef<double> V, const Vector<double>& tau) {
    const Index b = V.cols(), below = V.rows() - b;
    const Matrix<double> top = V.topRows(b).triangularView<Eigen::UnitLower>();
    Matrix<double> G(b, b);
    serial_gemm<double>(1, top, Op::kTranspose, top, Op::kNone, 0, G);
    if (below > 0)
        serial_gemm<double>(1, V.bottomRows(below), Op::kTranspose, V.bottomRows(below), Op::kNone, 1, G);
    // T(0:j, j) = −τ_j T(0:j, 0:j) V(:, 0:j)ᵀ v_j,  T(j, j) = τ_j
    Matrix<double> T = Matrix<double>::Zero(b, b);
    for (Index j = 0; j < b; ++j) {
        T.col(j).head(j) =
            T.topLeftCorner(j, j).triangularView<Eigen::Upper>() * (-tau[j] * G.col(j).head(j));
        T(j, j) = tau[j];
    }
    return T;
}

}  // namespace fastcca
