// Retrieval: exact search of a gallery.
#include "bindings/bindings.hpp"
#include "bindings/call.hpp"
#include "fastcca/moments/moments.hpp"
#include "fastcca/retrieval/top_k.hpp"

namespace fastcca::bindings {
namespace {

Similarity similarity_of(const std::string& name) {
    if (name == "inner_product") return Similarity::kInnerProduct;
    if (name == "cosine") return Similarity::kCosine;
    if (name == "euclidean") return Similarity::kEuclidean;
    throw std::invalid_argument("similarity must be inner_product, cosine or euclidean");
}

template <typename T>
py::tuple top_k_(const Array<T>& gallery, const Array<T>& queries, const std::string& similarity, Index k,
                 int n_threads) {
    const MatrixView<T> g = matrix_view(gallery, "gallery"), q = matrix_view(queries, "queries");
    const Similarity kind = similarity_of(similarity);
    if (g.cols != q.cols || g.cols < 1 || k < 1 || k > g.rows)
        throw std::invalid_argument(
            "gallery and queries must have the same columns, and k at most as many rows");
    py::array_t<Index> indices({q.rows, k});
    py::array_t<T> scores({q.rows, k});
    Index* const i = indices.mutable_data();
    T* const s = scores.mutable_data();
    try {
        without_gil(n_threads, [&] { top_k<T>(g, q, kind, k, i, s); });
    } catch (const NonFiniteError& e) {
        throw py::value_error(std::string("Input ") + (e.view == 0 ? "gallery" : "queries") + " contains " +
                              (e.is_nan ? "NaN" : "infinity") + ": the first is at row " +
                              std::to_string(e.row) + ", column " + std::to_string(e.column));
    }
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
