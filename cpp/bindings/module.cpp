// The one module that Python calls. It is compiled once, for the oldest CPU, and reaches the core through the
// table of a CPU level (level_module.cpp).
#include "bindings/bindings.hpp"

PYBIND11_MODULE(_bindings, m, pybind11::mod_gil_not_used()) {
    m.doc() = "The compiled core of fastcca, at the CPU level chosen by use_level.";
    fastcca::bindings::register_base(m);
    fastcca::bindings::register_kernels(m);
    fastcca::bindings::register_moments(m);
    fastcca::bindings::register_linalg(m);
    fastcca::bindings::register_solver(m);
    fastcca::bindings::register_correlation(m);
    fastcca::bindings::register_hinge(m);
    fastcca::bindings::register_contrastive(m);
    fastcca::bindings::register_warp(m);
    fastcca::bindings::register_retrieval(m);
}
