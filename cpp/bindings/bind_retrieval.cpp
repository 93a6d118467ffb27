// Retrieval: exact search of a gallery.
#include "bindings/bindings.hpp"
#include "bindings/call.hpp"
#include "bindings/enums.hpp"

namespace fastcca::bindings {
namespace {

template <typename T>
py::tuple top_k_(const Array<T>& gallery, const Array<T>& queries, Similarity similarity, Index k,
                 int n_threads) {
    const MatrixView<T> g = matrix_view(gallery, "gallery"), q = matrix_view(queries, "queries");
    if (g.cols != q.cols || g.cols < 1 || k < 1 || k > g.rows)
        throw std::invalid_argument(
            "gallery and queries must have the same columns, and k at most as many rows");
    py::array_t<Index> indices({q.rows, k});
    py::array_t<T> scores({q.rows, k});
    Index* const i = indices.mutable_data();
    T* const s = scores.mutable_data();
    checked(n_threads, {"gallery", "queries"}, [&] { core<T>().top_k(g, q, similarity, k, i, s); });
    return py::make_tuple(indices, scores);
}

}  // namespace

void register_retrieval(py::module_& m) {
    const auto define = [&](auto type) {
        using T = decltype(type);
        m.def("top_k", &top_k_<T>, py::arg("gallery").noconvert(), py::arg("queries").noconvert(),
              py::arg("similarity"), py::arg("k"), py::arg("n_threads"));
    };
    define(double{});
    define(float{});
}

}  // namespace fastcca::bindings
