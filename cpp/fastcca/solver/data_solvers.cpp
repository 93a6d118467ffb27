#include "fastcca/solver/data_solvers.hpp"

#include "fastcca/linalg/qr.hpp"
#include "fastcca/solver/basis.hpp"

namespace fastcca {
namespace {

Solution solve_bases(const Basis& x, const Basis& y, Index n_components) {
    // T = F₁ᵀ F₂
    return solve_whitened(product(x.F, Op::kTranspose, y.F), x.view, y.view, n_components);
}

}  // namespace

Solution solve_qr(const CentredView& x, const CentredView& y, Index n_components, Penalty reg) {
    const Index n = x.rows, p = x.columns(), q = y.columns();
    if (n <= p + q)
        return solve_bases(orthogonal_basis(x.data(), x, reg.x), orthogonal_basis(y.data(), y, reg.y),
                           n_components);
    // [X Y] = Q R with p + q columns: angles between columns survive Qᵀ, so the p + q rows of R stand for the
    // n samples, and neither Q nor the centred data are ever held.
    const Matrix<double> R = qr_r(n, p + q, [&](Index start, Index count, MutableRef<double> out) {
        x.fill(start, count, out.leftCols(p));
        y.fill(start, count, out.rightCols(q));
    });
    return solve_bases(orthogonal_basis(R.leftCols(p), x, reg.x), orthogonal_basis(R.rightCols(q), y, reg.y),
                       n_components);
}

Solution solve_gram(const CentredView& x, const CentredView& y, Index n_components, Penalty reg) {
    const auto basis = [](const CentredView& view, double r) {
        return view.columns() <= view.rows ? orthogonal_basis(view.data(), view, r) : gram_basis(view, r);
    };
    return solve_bases(basis(x, reg.x), basis(y, reg.y), n_components);
}

}  // namespace fastcca
