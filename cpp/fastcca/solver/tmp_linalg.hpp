#pragma once
#include <Eigen/QR>
#include <Eigen/SVD>
#include "fastcca/linalg/dense.hpp"
namespace fastcca {
struct SVD {
    Matrix<double> U;
    Vector<double> values;
    Matrix<double> V;
};
inline SVD truncated_svd(const Matrix<double>& A, Index k) {
    Eigen::BDCSVD<Matrix<double>> s(A, Eigen::ComputeThinU | Eigen::ComputeThinV);
    return {s.matrixU().leftCols(k), s.singularValues().head(k), s.matrixV().leftCols(k)};
}
struct QR {
    Matrix<double> Q, R;
};
inline QR thin_qr(const Matrix<double>& A) {
    Eigen::HouseholderQR<Matrix<double>> f(A);
    QR r;
    r.Q = f.householderQ() * Matrix<double>::Identity(A.rows(), A.cols());
    r.R = f.matrixQR().topRows(A.cols()).triangularView<Eigen::Upper>();
    return r;
}
inline Matrix<double> qr_triangle(const Matrix<double>& A, const Matrix<double>& B) {
    Matrix<double> C(A.rows(), A.cols() + B.cols());
    C << A, B;
    return thin_qr(C).R;
}
}  // namespace fastcca
