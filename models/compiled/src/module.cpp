// The extension module: each subject adds its types.
#include "module.hpp"

namespace {

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "models.compiled._native",
    "Kernels of the compiled estimators; see models.compiled.",
    -1,  // Types are process-wide: no sub-interpreters.
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__native() {
    PyObject *module = PyModule_Create(&definition);
    if (module == nullptr) return nullptr;
    // One line for each subject; each returns -1 with an exception set when it fails.
    if (PyModule_AddIntConstant(module, "FORMAT_VERSION", 1) < 0) {
        Py_DECREF(module);
        return nullptr;
    }
    return module;
}
