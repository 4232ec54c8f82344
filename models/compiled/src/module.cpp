// The extension module: each subject adds its types.
#include "module.hpp"

#include "dump.hpp"

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
    driftline::Ref module(PyModule_Create(&definition));
    if (!module) return nullptr;
    const bool failed =
        PyModule_AddIntConstant(module.get(), "FORMAT_VERSION", driftline::kFormatVersion) < 0 ||
        driftline::add_logistic(module.get()) < 0 ||
        driftline::add_naive_bayes(module.get()) < 0 || driftline::add_trees(module.get()) < 0 ||
        driftline::add_regressors(module.get()) < 0 ||
        driftline::add_half_space(module.get()) < 0 || driftline::add_windows(module.get()) < 0 ||
        driftline::add_movement(module.get()) < 0;
    return failed ? nullptr : module.release();
}
