// What every subject includes first: the Python API, and how a subject adds its types.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace driftline {

// Subjects declare here: `int add_<subject>(PyObject *module);`, -1 with an exception when it fails.

}  // namespace driftline
