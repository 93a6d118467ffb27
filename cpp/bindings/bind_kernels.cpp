// Kernels: matrices, the pivoted Cholesky one block at a time, moments of features, scores.
#include <array>
#include <memory>
#include <optional>

#include "bindings/bindings.hpp"
#include "bindings/call.hpp"
#include "bindings/enums.hpp"

namespace fastcca::bindings {
namespace {

// (type, gamma, degree, coef0), as the functional layer has checked them.
using Spec = std::tuple<KernelType, double, int, double>;

KernelSpec kernel_spec(const Spec& spec) {
    const auto& [type, gamma, degree, coef0] = spec;
    require(degree >= 1, "degree must be at least 1");
    return {type, gamma, degree, coef0};
}

// Kernels are evaluated on rows of at least one column.
template <typename T>
MatrixView<T> rows_of(const Array<T>& X, const std::string& name) {
    const MatrixView<T> view = matrix_view(X, name.c_str());
    if (view.rows < 1 || view.cols < 1)
        throw std::invalid_argument(name + " must have at least one row and one column");
    return view;
}

template <typename T>
LandmarkPoints<T> landmarks_of(const Array<T>& points, const Spec& spec) {
    return {kernel_spec(spec), rows_of(points, "landmarks")};
}
// The columns of the rows that the landmarks are evaluated against.
template <typename T>
Index columns_of(const LandmarkPoints<T>& landmarks) {
    return landmarks.kernel.type == KernelType::kGiven ? landmarks.points.rows : landmarks.points.cols;
}

void check_columns(Index got, Index expected, const std::string& name) {
    if (got != expected)
        throw std::invalid_argument(name + " has " + std::to_string(got) + " columns, expected " +
                                    std::to_string(expected));
}

template <typename T>
py::array matrix(const Array<T>& X, const std::optional<Array<T>>& Y, const Spec& spec, int n_threads) {
    const KernelSpec kernel = kernel_spec(spec);
    const MatrixView<T> x = rows_of(X, "X");
    if (!Y)
        return to_numpy(
            checked(n_threads, {"X"}, [&] { return core<T>().symmetric_kernel_matrix(kernel, x); }));
    const MatrixView<T> y = rows_of(*Y, "Y");
    check_columns(y.cols, x.cols, "Y");
    return to_numpy(checked(n_threads, {"Y"}, [&] { return core<T>().kernel_matrix(kernel, x, y); }));
}

template <typename T>
py::array scores(const Array<T>& X, const Array<T>& landmarks, const Spec& spec,
                 const Array<double>& coefficients, const Array<double>& offset, const std::string& name,
                 int n_threads) {
    const MatrixView<T> x = matrix_view(X, name.c_str());
    const Matrix<double> coef = matrix_of(coefficients, "coefficients");
    const Vector<double> shift = vector_of(offset, "offset");
    const LandmarkPoints<T> points = landmarks_of(landmarks, spec);
    check_columns(x.cols, columns_of(points), name);
    if (coef.rows() != points.points.rows || coef.cols() != shift.size())
        throw std::invalid_argument("coefficients, offset and landmarks differ in size");
    return to_numpy(
        checked(n_threads, {name}, [&] { return core<T>().kernel_scores(points, x, coef, shift); }));
}

// The factorisation with the data that it reads.
template <typename T>
class PyPivotedCholesky {
 public:
    PyPivotedCholesky(const Array<T>& X, const Spec& spec, Index rank, double tol, Pivoting pivoting,
                      Index block, std::uint64_t seed, const std::optional<Array<double>>& weights,
                      std::string name)
        : data_(X), name_(std::move(name)) {
        begin(core<T>().kernel_columns(kernel_spec(spec), rows_of(X, name_)),
              {rank, tol, pivoting, block, seed}, weights);
    }
    // columns(pivots) -> K(pivots, all rows), square(rows) -> K(rows, rows)
    PyPivotedCholesky(const Array<double>& diagonal, py::function columns, py::function square, Index rank,
                      double tol, Pivoting pivoting, Index block, std::uint64_t seed,
                      const std::optional<Array<double>>& weights, std::string name)
        : data_(py::make_tuple(columns, square)), name_(std::move(name)) {
        const auto call_python = [](const py::handle& function, auto type, const std::vector<Index>& rows,
                                    Index width) {
            using U = decltype(type);
            const GilHeld gil;
            Matrix<U> values = matrix_of<U>(function(rows).cast<Array<U>>(), "kernel");
            require(values.rows() == static_cast<Index>(rows.size()) && values.cols() == width,
                    "the kernel's values must have a row for each pivot, and a column for each row");
            return values;
        };
        const Index n = diagonal.size();
        const py::handle c = columns, s = square;  // kept alive by data_
        const auto kernel = std::make_shared<FunctionColumns<T>>(
            vector_of(diagonal, "diagonal"),
            [=](const std::vector<Index>& rows) -> Matrix<T> { return call_python(c, T{}, rows, n); },
            [=](const std::vector<Index>& rows) -> Matrix<double> {
                return call_python(s, double{}, rows, static_cast<Index>(rows.size()));
            });
        begin(kernel, {rank, tol, pivoting, block, seed}, weights);
    }

    // After an error, or once the features are gone, there is nothing left to go on from.
    bool step(int n_threads) {
        require(!ended_, "the factorisation has ended");
        ended_ = true;
        const bool more = checked(n_threads, {name_}, [&] { return core<T>().cholesky_step(*cholesky_); });
        ended_ = false;
        return more;
    }
    std::vector<Index> pivots() const { return cholesky_->pivots(); }
    py::array residual_trace() const {
        const auto& trace = cholesky_->residual_trace();
        return to_numpy(
            Vector<double>(Eigen::Map<const Vector<double>>(trace.data(), static_cast<Index>(trace.size()))));
    }
    double trace() const { return cholesky_->trace(); }
    Index rank() const { return cholesky_->rank(); }
    // The features' transpose, capacity × n, leaves this object, which is then of no further use.
    py::array take_features() {
        require(!ended_, "the factorisation has ended");
        ended_ = true;
        return to_numpy(std::move(cholesky_->features()));
    }

 private:
    void begin(std::shared_ptr<KernelColumns<T>> kernel, const PivotedCholeskyOptions& options,
               const std::optional<Array<double>>& weights) {
        require(options.rank >= 1 && options.block >= 0 && kernel->size() >= 1,
                "rank must be at least 1, block at least 0, and the kernel must have rows");
        Vector<double> w;
        if (weights) w = vector_of(*weights, "sample_weight");
        if (weights && w.size() != kernel->size())
            throw std::invalid_argument("sample_weight must have one entry per row");
        cholesky_ = checked(
            0, {name_}, [&] { return core<T>().pivoted_cholesky(std::move(kernel), options, std::move(w)); });
    }

    py::object data_;
    std::string name_;
    std::shared_ptr<PivotedCholesky<T>> cholesky_;
    bool ended_ = false;
};

// (what the kernel is evaluated on, the view's columns, k(x, x) where kernel values are given, the rows'
// features where they are known)
template <typename T>
using Input = std::tuple<Array<T>, Array<T>, std::optional<Array<double>>, std::optional<Array<T>>>;
// (landmarks, their factor, the kernel, the shift of the view's columns, whether the factor waits for the
// end)
template <typename T>
using Map = std::tuple<Array<T>, Array<double>, Spec, Array<T>, bool>;

template <typename T>
class PyFeatureMoments {
 public:
    PyFeatureMoments(const Map<T>& x, const Map<T>& y, bool with_cross, std::vector<std::string> names)
        : names_(std::move(names)), columns_{std::get<3>(x).size(), std::get<3>(y).size()} {
        require(names_.size() == 2, "names must name two views");
        const auto of_view = [](const Map<T>& map) -> ViewLandmarks<T> {
            const auto& [points, factor, spec, shift, late] = map;
            ViewLandmarks<T> view{landmarks_of(points, spec), matrix_of(factor, "factor"),
                                  vector_of(shift, "shift"), late};
            const Index m = view.points.points.rows;
            if (view.factor.rows() != m || view.factor.cols() != m)
                throw std::invalid_argument("factor must be square, of the number of landmarks");
            return view;
        };
        const ViewLandmarks<T> views[2] = {of_view(x), of_view(y)};
        for (std::size_t v = 0; v < 2; ++v) {
            kernel_columns_[v] = columns_of(views[v].points);
            n_landmarks_[v] = views[v].factor.rows();
            late_[v] = views[v].late;
        }
        moments_ = core<T>().feature_moments(views[0], views[1], with_cross);
    }

    void add(const Input<T>& x, const Input<T>& y, const std::optional<Array<double>>& weights,
             int n_threads) {
        Vector<double> diagonals[2], w;
        FeatureInput<T> inputs[2];
        for (std::size_t v = 0; v < 2; ++v) {
            const auto& [kernel_input, columns, diagonal, features] = v == 0 ? x : y;
            inputs[v] = {matrix_view(kernel_input, names_.at(v).c_str()),
                         matrix_view(columns, names_.at(v).c_str()), nullptr};
            if (features) {
                inputs[v].features = matrix_view(*features, "features");
                require(inputs[v].features.rows == inputs[v].columns.rows &&
                            inputs[v].features.cols == n_landmarks_[v],
                        "features must have a row for each row of the data and a column for each landmark");
                require(inputs[v].features.col_stride == 1, "features must have contiguous rows");
                require(!late_[v], "features are of no use where the factor waits for the end");
            }
            check_columns(inputs[v].kernel_input.cols, kernel_columns_[v], names_[v]);
            check_columns(inputs[v].columns.cols, columns_[v], names_[v]);
            if (diagonal) {
                diagonals[v] = vector_of(*diagonal, "diagonal");
                inputs[v].diagonal = &diagonals[v];
            }
            if (inputs[v].kernel_input.rows != inputs[0].columns.rows ||
                inputs[v].columns.rows != inputs[0].columns.rows ||
                (diagonal && diagonals[v].size() != inputs[0].columns.rows))
                throw std::invalid_argument("the views differ in their number of rows");
        }
        if (weights) w = vector_of(*weights, "sample_weight");
        if (weights && w.size() != inputs[0].columns.rows)
            throw std::invalid_argument("sample_weight must have one entry per row");
        checked(n_threads, names_, [&] {
            core<T>().add_features(*moments_, inputs[0], inputs[1], weights ? w.data() : nullptr);
        });
    }
    // The moments of the features g; (sum w g c', sum w c, sum w c²) of them and shifted columns c, the first
    // of no rows where it was not asked for; and for each view what is left out of the kernel's trace, and
    // the whole of it.
    py::tuple finish(int n_threads) const {
        auto sums = without_gil(n_threads, [&] { return core<T>().finish_features(*moments_); });
        auto& [moments, columns, traces] = sums;
        return py::make_tuple(
            py::make_tuple(moments.n, to_numpy(std::move(moments.shift)), to_numpy(std::move(moments.offset)),
                           to_numpy(std::move(moments.scatter))),
            py::make_tuple(to_numpy(std::move(columns.cross)), to_numpy(std::move(columns.sum)),
                           to_numpy(std::move(columns.square))),
            py::make_tuple(py::make_tuple(traces[0].left, traces[0].whole),
                           py::make_tuple(traces[1].left, traces[1].whole)));
    }

 private:
    std::vector<std::string> names_;
    std::array<Index, 2> columns_, kernel_columns_{}, n_landmarks_{};
    std::array<bool, 2> late_{};
    std::shared_ptr<FeatureMoments<T>> moments_;
};

// The Cholesky factor of the landmarks' kernel matrix. Empty, with the pivot's number, where it is not
// positive.
py::tuple landmark_factor(const Array<double>& K, int n_threads) {
    Matrix<double> L = matrix_of(K, "K");
    require(L.rows() == L.cols() && L.rows() >= 1, "K must be square");
    const Index failed = without_gil(n_threads, [&] { return level().cholesky(L); });
    return py::make_tuple(to_numpy(std::move(L)), failed);
}

// L⁻ᵀ W: weights of features become coefficients of kernel values.
py::array landmark_coefficients(const Array<double>& factor, const Array<double>& weights, int n_threads) {
    const Matrix<double> L = matrix_of(factor, "factor");
    Matrix<double> W = matrix_of(weights, "weights");
    require(L.rows() == L.cols() && L.rows() == W.rows() && L.rows() >= 1,
            "factor and weights differ in size");
    without_gil(n_threads, [&] { level().solve_lower_transposed(L, W); });
    return to_numpy(std::move(W));
}

// None where a kernel matrix is not of full rank, or where the iteration does not converge.
py::object dual(const Array<double>& Kx, const Array<double>& Ky, bool bach_jordan,
                const std::pair<double, double>& shift, Index components, double tol, int n_threads) {
    Matrix<double> kx = matrix_of(Kx, "Kx"), ky = matrix_of(Ky, "Ky");
    require(kx.rows() == kx.cols() && ky.rows() == kx.rows() && ky.cols() == kx.rows() && kx.rows() >= 1,
            "Kx and Ky must be square and of one size");
    require(components >= 1, "components must be at least 1");
    const DualOptions options{bach_jordan, shift.first, shift.second, components, tol};
    DualSolution s = without_gil(n_threads, [&] { return level().solve_dual(kx, ky, options); });
    if (!s.converged) return py::none();
    return py::make_tuple(to_numpy(std::move(s.singular_values)), to_numpy(std::move(s.x_coefficients)),
                          to_numpy(std::move(s.y_coefficients)), to_numpy(std::move(s.x_scores)),
                          to_numpy(std::move(s.y_scores)));
}

template <typename T>
void define(py::module_& m, const char* cholesky, const char* moments) {
    using Cholesky = PyPivotedCholesky<T>;
    py::class_<Cholesky>(m, cholesky, py::module_local())
        .def(py::init<const Array<T>&, const Spec&, Index, double, Pivoting, Index, std::uint64_t,
                      const std::optional<Array<double>>&, std::string>(),
             py::arg("X").noconvert(), py::arg("kernel"), py::arg("rank"), py::arg("tol"),
             py::arg("pivoting"), py::arg("block"), py::arg("seed"), py::arg("weights"), py::arg("name"))
        .def(py::init<const Array<double>&, py::function, py::function, Index, double, Pivoting, Index,
                      std::uint64_t, const std::optional<Array<double>>&, std::string>(),
             py::arg("diagonal"), py::arg("columns"), py::arg("square"), py::arg("rank"), py::arg("tol"),
             py::arg("pivoting"), py::arg("block"), py::arg("seed"), py::arg("weights"), py::arg("name"))
        .def("step", &Cholesky::step, py::arg("n_threads"))
        .def("take_features", &Cholesky::take_features)
        .def_property_readonly("pivots", &Cholesky::pivots)
        .def_property_readonly("residual_trace", &Cholesky::residual_trace)
        .def_property_readonly("rank", &Cholesky::rank)
        .def_property_readonly("trace", &Cholesky::trace);
    using Moments = PyFeatureMoments<T>;
    py::class_<Moments>(m, moments, py::module_local())
        .def(py::init<const Map<T>&, const Map<T>&, bool, std::vector<std::string>>(), py::arg("x"),
             py::arg("y"), py::arg("with_cross"), py::arg("names"))
        .def("add", &Moments::add, py::arg("x"), py::arg("y"), py::arg("weights"), py::arg("n_threads"))
        .def("finish", &Moments::finish, py::arg("n_threads"));
    m.def("kernel_matrix", &matrix<T>, py::arg("X").noconvert(), py::arg("Y").noconvert(), py::arg("kernel"),
          py::arg("n_threads"));
    m.def("kernel_scores", &scores<T>, py::arg("X").noconvert(), py::arg("landmarks").noconvert(),
          py::arg("kernel"), py::arg("coefficients"), py::arg("offset"), py::arg("name"),
          py::arg("n_threads"));
}

}  // namespace

void register_kernels(py::module_& m) {
    define<double>(m, "PivotedCholesky64", "FeatureMoments64");
    define<float>(m, "PivotedCholesky32", "FeatureMoments32");
    m.def("landmark_factor", &landmark_factor, py::arg("K"), py::arg("n_threads"));
    m.def("landmark_coefficients", &landmark_coefficients, py::arg("factor"), py::arg("weights"),
          py::arg("n_threads"));
    m.def("solve_dual", &dual, py::arg("Kx"), py::arg("Ky"), py::arg("bach_jordan"), py::arg("shift"),
          py::arg("components"), py::arg("tol"), py::arg("n_threads"));
}

}  // namespace fastcca::bindings
