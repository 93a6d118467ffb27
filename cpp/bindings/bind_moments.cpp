// The moments pass: arrays of one dtype in, (n, shift, offset, scatter) out.
#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

namespace fastcca::bindings {
namespace {

template <typename T>
std::vector<MatrixView<T>> matrices_of(const std::vector<Array<T>>& views,
                                       const std::vector<std::string>& names) {
    require(!views.empty() && names.size() == views.size(), "every view must have a name");
    std::vector<MatrixView<T>> matrices;
    for (std::size_t v = 0; v < views.size(); ++v)
        matrices.push_back(matrix_view(views[v], names.at(v).c_str()));
    return matrices;
}

py::tuple parts(MomentSums sums) {
    return py::make_tuple(sums.n, to_numpy(std::move(sums.shift)), to_numpy(std::move(sums.offset)),
                          to_numpy(std::move(sums.scatter)));
}

// Rows that come in batches: their products are brought together once, at the end.
template <typename T>
class PyMomentsStream {
 public:
    explicit PyMomentsStream(Index columns) {
        require(columns >= 1, "there must be columns");
        stream_ = core<T>().moments_stream(columns);
    }
    // After an error part of the rows are counted: there is nothing to go on from.
    void add(const std::vector<Array<T>>& views, const std::vector<std::string>& names, int n_threads) {
        require(!ended_, "the stream of rows has ended by an error");
        const std::vector<MatrixView<T>> matrices = matrices_of(views, names);
        ended_ = true;
        checked(n_threads, names, [&] { core<T>().add_rows(*stream_, matrices); });
        ended_ = false;
    }
    py::tuple finish(int n_threads) const {
        require(!ended_, "the stream of rows has ended by an error");
        return parts(without_gil(n_threads, [&] { return core<T>().finish_rows(*stream_); }));
    }

 private:
    std::shared_ptr<MomentsAccumulator<T>> stream_;
    bool ended_ = false;
};

template <typename T>
py::tuple moments(const std::vector<Array<T>>& views, const std::vector<std::string>& names,
                  const std::optional<Array<double>>& weights, bool in_double, int n_threads) {
    const std::vector<MatrixView<T>> matrices = matrices_of(views, names);
    Vector<double> w;
    if (weights) w = vector_of(*weights, "sample_weight");
    if (weights && !matrices.empty() && w.size() != matrices.front().rows)
        throw std::invalid_argument("sample_weight must have one entry per row");
    return parts(checked(n_threads, names, [&] {
        return core<T>().moments(matrices, weights ? w.data() : nullptr, in_double);
    }));
}

template <typename T>
void require_contiguous(const Array<T>& a, Index size, const char* message) {
    require(a.ndim() == 1 && a.shape(0) == size && (size < 2 || element_stride<T>(a, 0) == 1), message);
}

// Compressed rows in, added to the upper triangle of `out`.
void add_sparse_products_(const Array<std::int64_t>& starts, const Array<std::int32_t>& columns,
                          const Array<double>& values, const std::optional<Array<double>>& weights,
                          Array<double>& out, int n_threads) {
    require(starts.ndim() == 1 && starts.shape(0) >= 1, "there must be starts of rows");
    const Index rows = starts.shape(0) - 1, entries = values.size();
    require_contiguous(starts, rows + 1, "the starts must be contiguous");
    require_contiguous(values, entries, "the values must be contiguous");
    require_contiguous(columns, entries, "every entry must have a column");
    if (weights) require_contiguous(*weights, rows, "sample_weight must have one entry per row");
    require(out.ndim() == 2 && out.shape(0) == out.shape(1), "out must be square");
    const Index d = out.shape(0);
    require(d < 2 || (element_stride<double>(out, 1) == 1 && element_stride<double>(out, 0) == d),
            "out must be contiguous by rows");
    double* const to = out.mutable_data();  // throws where it is read-only
    const SparseRows Z{rows, d, starts.data(), columns.data(), values.data()};
    const double* const w = weights ? weights->data() : nullptr;
    without_gil(n_threads, [&] {
        level().check_sparse_rows(Z, entries);
        level().add_sparse_products(Z, w, to);
    });
}

}  // namespace

void register_moments(py::module_& m) {
    const auto define = [&](auto type, const char* stream) {
        using T = decltype(type);
        m.def("moments", &moments<T>, py::arg("views").noconvert(), py::arg("names"), py::arg("weights"),
              py::arg("in_double"), py::arg("n_threads"));
        using Stream = PyMomentsStream<T>;
        py::class_<Stream>(m, stream, py::module_local())
            .def(py::init<Index>(), py::arg("columns"))
            .def("add", &Stream::add, py::arg("views").noconvert(), py::arg("names"), py::arg("n_threads"))
            .def("finish", &Stream::finish, py::arg("n_threads"));
    };
    m.def("add_sparse_products", &add_sparse_products_, py::arg("starts").noconvert(),
          py::arg("columns").noconvert(), py::arg("values").noconvert(), py::arg("weights"),
          py::arg("out").noconvert(), py::arg("n_threads"));
    define(double{}, "MomentsStream64");
    define(float{}, "MomentsStream32");
}

}  // namespace fastcca::bindings
