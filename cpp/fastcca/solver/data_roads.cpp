#include "fastcca/solver/data_roads.hpp"

#include <utility>

#include "fastcca/linalg/qr.hpp"
#include "fastcca/solver/basis.hpp"

namespace fastcca {
namespace {

Solution solve_bases(const Basis& x, const Basis& y, Index n_components) {
    // T = F₁ᵀ F₂
    return solve_whitened(product(x.F, Op::kTranspose, y.F), x.view, y.view, n_components);
}

}  // namespace

Solution solve_qr(CentredView x, CentredView y, Index n_components, Penalty reg) {
    const Index n = x.data.rows(), p = x.data.cols(), q = y.data.cols();
    if (n > p + q) {
        // [X Y] = Q R with p + q columns: angles between columns survive Qᵀ, so the p + q rows of R stand for
        // the n samples and Q is never formed.
        x.data.conservativeResize(n, p + q);
        x.data.rightCols(q) = y.data;
        y.data.resize(0, 0);
        const Matrix<double> R = qr_r(x.data);
        x.data = R.leftCols(p);
        y.data = R.rightCols(q);
    }
    return solve_bases(orthogonal_basis(x.data, x, n, reg.x), orthogonal_basis(y.data, y, n, reg.y),
                       n_components);
}

Solution solve_gram(CentredView x, CentredView y, Index n_components, Penalty reg) {
    const auto basis = [](CentredView& view, double r) {
        const Index n = view.data.rows();
        if (view.data.cols() <= n) return orthogonal_basis(view.data, view, n, r);
        return gram_basis(std::make_shared<const CentredView>(std::move(view)), r);
    };
    const Basis bx = basis(x, reg.x), by = basis(y, reg.y);
    return solve_bases(bx, by, n_components);
}

}  // namespace fastcca
