// Threads, errors, and what this module was built with.
#include <Eigen/Core>

#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

#define FASTCCA_TEXT(x) FASTCCA_TEXT_(x)
#define FASTCCA_TEXT_(x) #x

namespace fastcca::bindings {
namespace {

// Runs on the thread that called from Python, while the pool works. Outside Python's main thread the
// check does nothing, as everywhere in Python.
bool python_signals() {
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
}

std::string compiler() {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#elif defined(_MSC_VER)
    return "msvc " FASTCCA_TEXT(_MSC_VER);
#else
    return "unknown";
#endif
}

std::string eigen() {
    return FASTCCA_TEXT(EIGEN_WORLD_VERSION) "." FASTCCA_TEXT(EIGEN_MAJOR_VERSION) "." FASTCCA_TEXT(
        EIGEN_MINOR_VERSION);
}

}  // namespace

void register_base(py::module_& m) {
    set_interrupt_hook(&python_signals);
    py::register_local_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (const NumericalError& e) {
            py::set_error(py::module_::import("fastcca.errors").attr("NumericalError"), e.what());
        } catch (const Interrupted&) {
            PyErr_SetNone(PyExc_KeyboardInterrupt);
        }
    });
    m.attr("level") = FASTCCA_LEVEL;
    m.attr("compiler") = compiler();
    m.attr("eigen") = eigen();
    m.def("num_threads", &num_threads);
    m.def("set_num_threads", &set_num_threads, py::arg("n"));
}

}  // namespace fastcca::bindings
