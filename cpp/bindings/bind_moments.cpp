// The moments pass: arrays of one dtype in, (n, shift, offset, scatter) out.
#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

namespace fastcca::bindings {
namespace {

template <typename T>
py::tuple moments(const std::vector<Array<T>>& views, const std::vector<std::string>& names,
                  const std::optional<Array<double>>& weights, bool in_double, int n_threads) {
    require(!views.empty() && names.size() == views.size(), "every view must have a name");
    std::vector<MatrixView<T>> matrices;
    for (std::size_t v = 0; v < views.size(); ++v)
        matrices.push_back(matrix_view(views[v], names.at(v).c_str()));
    Vector<double> w;
    if (weights) w = vector_of(*weights, "sample_weight");
    if (weights && !matrices.empty() && w.size() != matrices.front().rows)
        throw std::invalid_argument("sample_weight must have one entry per row");
    MomentSums sums = checked(n_threads, names, [&] {
        return core<T>().moments(matrices, weights ? w.data() : nullptr, in_double);
    });
    return py::make_tuple(sums.n, to_numpy(std::move(sums.shift)), to_numpy(std::move(sums.offset)),
                          to_numpy(std::move(sums.scatter)));
}

}  // namespace

void register_moments(py::module_& m) {
    const auto define = [&](auto type) {
        m.def("moments", &moments<decltype(type)>, py::arg("views").noconvert(), py::arg("names"),
              py::arg("weights"), py::arg("in_double"), py::arg("n_threads"));
    };
    define(double{});
    define(float{});
}

}  // namespace fastcca::bindings
