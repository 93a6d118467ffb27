// One extension module per CPU level: the same bindings over the core compiled for that level.
#include "bindings/bindings.hpp"

PYBIND11_MODULE(FASTCCA_MODULE, m, pybind11::mod_gil_not_used()) {
    m.doc() = "The compiled core of fastcca, for one CPU level.";
    fastcca::bindings::register_base(m);
    fastcca::bindings::register_kernels(m);
    fastcca::bindings::register_moments(m);
    fastcca::bindings::register_linalg(m);
    fastcca::bindings::register_solver(m);
    fastcca::bindings::register_losses(m);
    fastcca::bindings::register_hinge(m);
    fastcca::bindings::register_retrieval(m);
}
