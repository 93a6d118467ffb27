// What each bind_*.cpp offers to module.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace fastcca::bindings {

void register_base(pybind11::module_& m);
void register_kernels(pybind11::module_& m);
void register_moments(pybind11::module_& m);
void register_linalg(pybind11::module_& m);
void register_solver(pybind11::module_& m);
void register_correlation(pybind11::module_& m);
void register_hinge(pybind11::module_& m);
void register_contrastive(pybind11::module_& m);
void register_warp(pybind11::module_& m);
void register_retrieval(pybind11::module_& m);

}  // namespace fastcca::bindings
