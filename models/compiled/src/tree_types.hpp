// What the Python types of all trees say in the same way.
#pragma once

#include "module.hpp"
#include "tree_shape.hpp"

namespace driftline {

// Nodes, branches, leaves, height, active and inactive leaves, weight seen; a new reference.
template <class AnyTree> PyObject *counts_of_tree(const AnyTree &tree) {
    const TreeCounts c = tree.counts();
    return Py_BuildValue("LLLLLLd", static_cast<long long>(c.n_nodes),
                         static_cast<long long>(c.n_branches), static_cast<long long>(c.n_leaves),
                         static_cast<long long>(c.height),
                         static_cast<long long>(tree.n_active_leaves()),
                         static_cast<long long>(tree.n_inactive_leaves()), tree.total_weight());
}

// Takes over the type; -1 with an exception set when that fails.
inline int add_type(PyObject *module, const char *name, PyObject *type) {
    const Ref owned(type);
    return owned ? PyModule_AddObjectRef(module, name, owned.get()) : -1;
}

}  // namespace driftline
