// Between Python and the core: arrays become views, the core runs without the GIL, results become arrays
// that own the core's memory. The core is reached through the table of the CPU level in use alone.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

#include "fastcca/level/level.hpp"

namespace fastcca::bindings {

namespace py = pybind11;

// The table of the level in use. Throws where none has been chosen yet.
const Level& level();

template <typename T>
const TypedLevel<T>& core() {
    if constexpr (std::is_same_v<T, float>) {
        return level().f32;
    } else {
        return level().f64;
    }
}

// An array argument of exactly this dtype (declare it py::arg().noconvert()), of any strides.
template <typename T>
using Array = py::array_t<T, 0>;

// Strides in elements. Layer 3 passes only aligned arrays in native byte order, whose strides divide.
template <typename T>
Index element_stride(const py::array& a, int axis) {
    const auto bytes = static_cast<Index>(a.strides(axis));
    if (bytes % static_cast<Index>(sizeof(T)) != 0)
        throw std::invalid_argument("array strides are not whole elements");
    return bytes / static_cast<Index>(sizeof(T));
}

template <typename T>
MatrixView<T> matrix_view(const Array<T>& a, const char* name) {
    if (a.ndim() != 2) throw std::invalid_argument(std::string(name) + " must be a 2-d array");
    return {a.data(), a.shape(0), a.shape(1), element_stride<T>(a, 0), element_stride<T>(a, 1)};
}

// A C- or F-contiguous copy is not made: the result is an owned matrix for small operands (d × d).
template <typename T>
Matrix<T> matrix_of(const Array<T>& a, const char* name) {
    return matrix_view(a, name).map();
}

template <typename T>
Vector<T> vector_of(const Array<T>& a, const char* name) {
    if (a.ndim() != 1) throw std::invalid_argument(std::string(name) + " must be a 1-d array");
    Vector<T> v(a.shape(0));
    for (Index i = 0; i < v.size(); ++i) v[i] = a.at(i);
    return v;
}

// Hands a matrix to NumPy without a copy: the array (F order) keeps the matrix alive.
template <typename Owned, typename T>
py::array owned_to_numpy(std::unique_ptr<Owned> owned, const T* data, Index rows, Index cols) {
    py::capsule owner(owned.get(), [](void* p) { delete static_cast<Owned*>(p); });
    owned.release();
    const auto item = static_cast<py::ssize_t>(sizeof(T));
    return py::array_t<T>({rows, cols}, {item, item * rows}, data, owner);
}
template <typename T>
py::array to_numpy(Matrix<T>&& m) {
    auto owned = std::make_unique<Matrix<T>>(std::move(m));
    const Matrix<T>& matrix = *owned;
    return owned_to_numpy(std::move(owned), matrix.data(), matrix.rows(), matrix.cols());
}
template <typename T>
py::array to_numpy(std::shared_ptr<Scratch<T>> m) {
    const Scratch<T>& matrix = *m;
    auto owned = std::make_unique<std::shared_ptr<Scratch<T>>>(std::move(m));
    return owned_to_numpy(std::move(owned), matrix.data(), matrix.rows(), matrix.cols());
}

template <typename T>
py::array to_numpy(Vector<T>&& v) {
    auto owned = std::make_unique<Vector<T>>(std::move(v));
    const Vector<T>& vector = *owned;
    py::capsule owner(owned.get(), [](void* p) { delete static_cast<Vector<T>*>(p); });
    owned.release();
    return py::array_t<T>({vector.size()}, {static_cast<py::ssize_t>(sizeof(T))}, vector.data(), owner);
}

// What a function of the core relies on. Layer 3 says it in the user's words; here it keeps every read within
// its array, whoever calls.
inline void require(bool holds, const char* expectation) {
    if (!holds) throw std::invalid_argument(expectation);
}

// Takes the GIL back. A thread that asks for the GIL of an interpreter that is being finalised never gets it:
// Python 3.14 lets it wait for ever, earlier versions unwind it, through destructors that would change
// reference counts without the GIL and through functions that must not throw. It waits for ever here too, and
// ends with the process.
inline void take_gil(PyThreadState* state) {
#if defined(__GLIBCXX__)
    try {
        PyEval_RestoreThread(state);
    } catch (abi::__forced_unwind&) {
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
#else
    PyEval_RestoreThread(state);
#endif
}

// This thread's state while it has released the GIL, else nullptr.
inline thread_local PyThreadState* released_state = nullptr;

class GilReleased {
 public:
    GilReleased() : outer_(released_state) { released_state = PyEval_SaveThread(); }
    ~GilReleased() {
        take_gil(released_state);
        released_state = outer_;
    }
    GilReleased(const GilReleased&) = delete;
    GilReleased& operator=(const GilReleased&) = delete;

 private:
    PyThreadState* outer_;
};

// For calls of Python from within the core.
class GilHeld {
 public:
    GilHeld() : released_(released_state != nullptr) {
        if (!released_) return;
        take_gil(released_state);
        released_state = nullptr;
    }
    ~GilHeld() {
        if (!released_) return;
        // Unwound by an interpreter that is being finalised, this thread has lost the GIL within Python.
        while (!PyGILState_Check()) std::this_thread::sleep_for(std::chrono::hours(1));
        released_state = PyEval_SaveThread();
    }
    GilHeld(const GilHeld&) = delete;
    GilHeld& operator=(const GilHeld&) = delete;

 private:
    bool released_;
};

// Runs f() without the GIL and on at most n_threads threads (0: the default). An interrupt comes out as
// the Python exception that the signal handler raised.
template <typename F>
auto without_gil(int n_threads, F&& f) {
    using Result = decltype(f());
    try {
        const GilReleased released;
        if constexpr (std::is_void_v<Result>) {
            level().with_threads(n_threads, [&] { f(); });
        } else {
            std::optional<Result> result;
            level().with_threads(n_threads, [&] { result.emplace(f()); });
            return std::move(*result);
        }
    } catch (const Interrupted&) {
        if (PyErr_Occurred()) throw py::error_already_set();
        throw;
    }
}

// The same, where the core looks for NaN and infinity in the views of these names.
template <typename F>
auto checked(int n_threads, const std::vector<std::string>& names, F&& f) {
    try {
        return without_gil(n_threads, f);
    } catch (const NonFiniteError& e) {
        throw py::value_error("Input " + names.at(e.view) + " contains " + (e.is_nan ? "NaN" : "infinity") +
                              ": the first is at row " + std::to_string(e.row) + ", column " +
                              std::to_string(e.column));
    }
}

}  // namespace fastcca::bindings
