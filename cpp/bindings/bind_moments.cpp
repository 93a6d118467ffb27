// The moments pass: arrays of one dtype in, (n, shift, offset, scatter) out.
#include "bindings/bindings.hpp"
#include "bindings/call.hpp"
#include "fastcca/moments/moments.hpp"

namespace fastcca::bindings {
namespace {

template <typename T>
py::tuple moments(const std::vector<Array<T>>& views, const std::vector<std::string>& names,
                  const std::optional<Array<double>>& weights, bool in_double, int n_threads) {
    require(!views.empty() && names.size() == views.size(), "every view must have a name");
    std::vector<MatrixView<T>> matrices;
    Index columns = 0;
    for (std::size_t v = 0; v < views.size(); ++v) {
        matrices.push_back(matrix_view(views[v], names.at(v).c_str()));
        columns += matrices.back().cols;
    }
    Vector<double> w;
    if (weights) w = vector_of(*weights, "sample_weight");
    if (weights && !matrices.empty() && w.size() != matrices.front().rows)
        throw std::invalid_argument("sample_weight must have one entry per row");
    try {
        const auto sums_of = [&](auto accumulator) {
            accumulator.add(matrices, weights ? w.data() : nullptr);
            return accumulator.finish();
        };
        MomentSums sums = without_gil(n_threads, [&] {
            return in_double ? sums_of(MomentsAccumulator<T, double>(columns))
                             : sums_of(MomentsAccumulator<T>(columns));
        });
        return py::make_tuple(sums.n, to_numpy(std::move(sums.shift)), to_numpy(std::move(sums.offset)),
                              to_numpy(std::move(sums.scatter)));
    } catch (const NonFiniteError& e) {
        throw py::value_error("Input " + names.at(e.view) + " contains " + (e.is_nan ? "NaN" : "infinity") +
                              ": the first is at row " + std::to_string(e.row) + ", column " +
                              std::to_string(e.column));
    }
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
