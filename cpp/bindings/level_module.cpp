// A module of one CPU level: nothing but the address of its table of functions, as the capsule `table`.
#include <Python.h>

#include "fastcca/level/level.hpp"

#define FASTCCA_JOIN(a, b) FASTCCA_JOIN_(a, b)
#define FASTCCA_JOIN_(a, b) a##b
#define FASTCCA_TEXT(x) FASTCCA_TEXT_(x)
#define FASTCCA_TEXT_(x) #x

namespace {

int add_table(PyObject* module) {
    // The pointer is only read; capsules know no const.
    PyObject* table = PyCapsule_New(const_cast<fastcca::Level*>(&fastcca::this_level()), nullptr, nullptr);
    const int status = table ? PyModule_AddObjectRef(module, "table", table) : -1;
    Py_XDECREF(table);
    return status;
}

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(&add_table)},
#if defined(Py_mod_gil)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    FASTCCA_TEXT(FASTCCA_MODULE),
    "The core of fastcca, compiled for one CPU level.",
    0,
    nullptr,
    slots,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

PyMODINIT_FUNC FASTCCA_JOIN(PyInit_, FASTCCA_MODULE)() { return PyModuleDef_Init(&definition); }
