// The solver: moments or data in, weights and correlations out.
#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

namespace fastcca::bindings {
namespace {

using Pair = std::pair<double, double>;
using MomentsArrays =
    std::tuple<double, Array<double>, Array<double>, Array<double>, Array<double>>;  // as MomentsView

// The scatter is symmetric, so C and F order read the same; its rows must be whole and without gaps.
MomentsView moments_view(const MomentsArrays& arrays) {
    const auto& [n, mean, scatter, eps, rounding] = arrays;
    const Index d = mean.size();
    if (mean.ndim() != 1 || scatter.ndim() != 2 || scatter.shape(0) != d || scatter.shape(1) != d ||
        eps.ndim() != 1 || eps.size() != d || rounding.ndim() != 1 || rounding.size() != d)
        throw std::invalid_argument(
            "moments must hold a mean (d,), a scatter (d, d), an eps and a rounding (d,)");
    if (!(scatter.flags() & (py::array::c_style | py::array::f_style)) ||
        !(mean.flags() & eps.flags() & rounding.flags() & py::array::c_style))
        throw std::invalid_argument("moments must be contiguous");
    return {n, {mean.data(), d}, {scatter.data(), d, d}, {eps.data(), d}, {rounding.data(), d}};
}

void check_split(Index p, Index d) {
    if (p < 1 || p >= d)
        throw std::invalid_argument("moments must hold two views with at least one column each");
}

py::tuple to_python(Solution&& s) {
    return py::make_tuple(to_numpy(std::move(s.x_weights)), to_numpy(std::move(s.y_weights)),
                          to_numpy(std::move(s.singular_values)), py::make_tuple(s.rank[0], s.rank[1]),
                          py::make_tuple(s.condition[0], s.condition[1]),
                          py::make_tuple(s.dropped[0], s.dropped[1]), py::make_tuple(s.lost[0], s.lost[1]));
}

py::tuple whiten_moments_(const MomentsArrays& moments, Index start, Index width, double reg,
                          const std::string& name, int n_threads) {
    const MomentsView view = moments_view(moments);
    if (start < 0 || width < 1 || width > view.mean.size() - start)
        throw std::invalid_argument("there are no such columns");
    require(reg >= 0, "reg must not be negative");
    ViewWhitening w =
        without_gil(n_threads, [&] { return level().whiten_moments(view, start, width, reg, name); });
    return py::make_tuple(to_numpy(std::move(w.weights)), w.rank, w.condition, w.dropped, w.lost);
}

py::tuple solve_moments_(const MomentsArrays& moments, Index p, Index n_components, Pair reg, int n_threads) {
    const MomentsView view = moments_view(moments);
    check_split(p, view.mean.size());
    require(n_components >= 1, "n_components must be at least 1");
    return to_python(without_gil(
        n_threads, [&] { return level().solve_moments(view, p, n_components, {reg.first, reg.second}); }));
}

template <typename TX, typename TY>
py::tuple solve_data(const Array<TX>& x, const Array<TY>& y,
                     const std::optional<Array<double>>& sample_weight, Index n_components, Pair reg,
                     bool gram, int n_threads) {
    const MatrixView<TX> X = matrix_view(x, "X");
    const MatrixView<TY> Y = matrix_view(y, "y");
    const Vector<double> weights =
        sample_weight ? vector_of(*sample_weight, "sample_weight") : Vector<double>();
    if (X.rows != Y.rows || (sample_weight && weights.size() != X.rows))
        throw std::invalid_argument("X, y and sample_weight must have the same number of rows");
    require(n_components >= 1, "n_components must be at least 1");
    if (X.cols < 1 || Y.cols < 1) throw std::invalid_argument("X and y must have at least one column");
    return to_python(without_gil(n_threads, [&] {
        const auto solve = gram ? level().solve_gram : level().solve_qr;
        return solve(core<TX>().centre(X, weights, "X"), core<TY>().centre(Y, weights, "y"), n_components,
                     {reg.first, reg.second});
    }));
}

py::array held_out(const std::vector<std::pair<MomentsArrays, MomentsArrays>>& folds,
                   const Array<double>& total_variation, Index p, const std::vector<Pair>& regs,
                   Index n_components, int n_threads) {
    const Vector<double> total = vector_of(total_variation, "total_variation");
    check_split(p, total.size());
    require(n_components >= 1, "n_components must be at least 1");
    std::vector<Fold> views;
    for (const auto& [train, held] : folds) {
        views.push_back({moments_view(train), moments_view(held)});
        if (views.back().train.mean.size() != total.size() ||
            views.back().held_out.mean.size() != total.size())
            throw std::invalid_argument("the folds must have the columns of the total");
    }
    std::vector<Penalty> penalties;
    for (const auto& [x, y] : regs) penalties.push_back({x, y});
    const auto rows = without_gil(n_threads, [&] {
        return level().held_out_correlations(views, {total.data(), total.size()}, p, penalties, n_components);
    });
    py::array_t<double> result({static_cast<py::ssize_t>(rows.size()), static_cast<py::ssize_t>(regs.size()),
                                static_cast<py::ssize_t>(n_components)});
    for (std::size_t f = 0; f < rows.size(); ++f)
        std::copy(rows[f].begin(), rows[f].end(), result.mutable_data(static_cast<py::ssize_t>(f), 0, 0));
    return result;
}

}  // namespace

void register_solver(py::module_& m) {
    m.def("whiten_moments", &whiten_moments_, py::arg("moments"), py::arg("start"), py::arg("width"),
          py::arg("reg"), py::arg("name"), py::arg("n_threads"));
    m.def("solve_moments", &solve_moments_, py::arg("moments"), py::arg("p"), py::arg("n_components"),
          py::arg("reg"), py::arg("n_threads"));
    const auto define = [&](auto x, auto y) {
        m.def("solve_data", &solve_data<decltype(x), decltype(y)>, py::arg("X").noconvert(),
              py::arg("y").noconvert(), py::arg("sample_weight"), py::arg("n_components"), py::arg("reg"),
              py::arg("gram"), py::arg("n_threads"));
    };
    define(double{}, double{});
    define(float{}, float{});
    define(float{}, double{});
    define(double{}, float{});
    m.def("held_out_correlations", &held_out, py::arg("folds"), py::arg("total_variation"), py::arg("p"),
          py::arg("regs"), py::arg("n_components"), py::arg("n_threads"));
}

}  // namespace fastcca::bindings
