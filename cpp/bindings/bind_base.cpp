// Threads, errors, and what this module was built with.
#include <Eigen/Core>

#include <atomic>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

#define FASTCCA_TEXT(x) FASTCCA_TEXT_(x)
#define FASTCCA_TEXT_(x) #x

namespace fastcca::bindings {
namespace {

// Python handles signals on its main thread alone: the other threads need not stop for the GIL.
std::atomic<unsigned long> main_thread{0};

// Runs on the thread that called from Python, while the pool works.
bool python_signals() {
    if (PyThread_get_thread_ident() != main_thread) return false;
    const GilHeld gil;
    return PyErr_CheckSignals() != 0;
}

void find_main_thread() {
    main_thread = py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
#if defined(__unix__) || defined(__APPLE__)
    // The thread that forked is the main thread of the child.
    pthread_atfork(nullptr, nullptr, [] { main_thread = PyThread_get_thread_ident(); });
#endif
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
    find_main_thread();
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
