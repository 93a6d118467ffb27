// Epochs of WSABIE's descent, which change their arrays in place.
#include <optional>
#include <tuple>

#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

namespace fastcca::bindings {
namespace {

using Indices = py::array_t<Index, py::array::c_style>;

template <typename T>
std::tuple<double, Index, Index> warp_epoch_(const Array<T>& X, const Indices& y, const Indices& order,
                                             py::array_t<T, py::array::c_style>& W,
                                             py::array_t<T, py::array::c_style>& V, double learning_rate,
                                             double margin, double max_norm, std::uint64_t seed,
                                             const std::optional<Indices>& starts,
                                             const std::optional<Indices>& positives) {
    WarpEpoch<T> epoch;
    epoch.X = matrix_view(X, "X");
    require(y.ndim() == 1 && order.ndim() == 1 && W.ndim() == 2 && V.ndim() == 2,
            "y and order must be 1-d arrays, W and V 2-d arrays");
    epoch.y = y.data();
    epoch.order = order.data();
    epoch.n_steps = order.size();
    epoch.n_classes = V.shape(0);
    epoch.width = V.shape(1);
    epoch.learning_rate = learning_rate;
    epoch.margin = margin;
    epoch.max_norm = max_norm;
    epoch.seed = seed;
    if (y.size() != epoch.X.rows || W.shape(0) != epoch.width || W.shape(1) != epoch.X.cols)
        throw std::invalid_argument("the shapes of X, y, W and V do not fit");
    if (starts && positives) {
        require(
            starts->size() == y.size() + 1 && starts->at(0) == 0 && starts->at(y.size()) == positives->size(),
            "the starts of the positives do not fit");
        for (Index i = 0; i < y.size(); ++i)
            require(starts->at(i) <= starts->at(i + 1), "the starts of the positives must not fall");
        epoch.positive_starts = starts->data();
        epoch.positives = positives->data();
    }
    T *w = W.mutable_data(), *v = V.mutable_data();
    const WarpResult result = checked(1, {"X"}, [&] { return core<T>().warp_epoch(epoch, w, v); });
    return {result.loss, result.updates, result.draws};
}

}  // namespace

void register_warp(py::module_& m) {
    const auto define = [&](auto type) {
        using T = decltype(type);
        m.def("warp_epoch", &warp_epoch_<T>, py::arg("X").noconvert(), py::arg("y").noconvert(),
              py::arg("order").noconvert(), py::arg("W").noconvert(), py::arg("V").noconvert(),
              py::arg("learning_rate"), py::arg("margin"), py::arg("max_norm"), py::arg("seed"),
              py::arg("positive_starts"), py::arg("positives"));
    };
    define(double{});
    define(float{});
}

}  // namespace fastcca::bindings
