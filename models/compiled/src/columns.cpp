#include "columns.hpp"

namespace driftline {

int read_binary_label(PyObject *label) {
    if (label == Py_True) return 1;
    if (label == Py_False) return 0;
    for (int truth = 1; truth >= 0; truth--) {
        const int equal = PyObject_RichCompareBool(label, truth ? Py_True : Py_False, Py_EQ);
        if (equal < 0) return -1;
        if (equal) return truth;
    }
    PyErr_Format(PyExc_ValueError, "the label is %R: this model takes True and False", label);
    return -1;
}

int Columns::open(const Names &names, PyObject *tuple, Py_ssize_t n_columns) {
    if (tuple == tuple_.get() && all_known_ && PyTuple_GET_SIZE(tuple) == n_columns) return 0;
    all_known_ = false;
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != n_columns) {
        PyErr_Format(PyExc_ValueError, "%zd columns need a tuple of as many names, not %R",
                     n_columns, tuple);
        return -1;
    }
    const Ref seen(PySet_New(tuple));
    if (!seen) return -1;
    if (PySet_GET_SIZE(seen.get()) != n_columns) {
        PyErr_Format(PyExc_ValueError, "the names of the columns repeat: %R", tuple);
        return -1;
    }
    tuple_ = Ref::borrow(tuple);
    slots_.clear();
    all_known_ = true;
    dense_ = true;
    for (Py_ssize_t j = 0; j < n_columns; j++) {
        PyObject *name = PyTuple_GET_ITEM(tuple, j);
        const int slot = check_name(name) < 0 ? Names::kFailed : names.find(name);
        if (slot == Names::kFailed) {
            all_known_ = false;
            return -1;
        }
        all_known_ &= slot != Names::kUnknown;
        dense_ &= slot == static_cast<int>(j);
        slots_.push_back(slot);
    }
    return 0;
}

int Columns::learn_names(Names &names) {
    if (all_known_) return 0;
    dense_ = true;
    for (size_t j = 0; j < slots_.size(); j++) {
        slots_[j] = names.add(PyTuple_GET_ITEM(tuple_.get(), static_cast<Py_ssize_t>(j)));
        if (slots_[j] == Names::kFailed) return -1;
        dense_ &= slots_[j] == static_cast<int>(j);
    }
    all_known_ = true;
    return 0;
}

int read_weights(PyObject *weights, Py_ssize_t n, std::vector<double> &out) {
    out.clear();
    if (weights == nullptr || weights == Py_None) {
        out.resize(static_cast<size_t>(n), 1.0);
        return 0;
    }
    const Ref sequence(PySequence_Tuple(weights));
    if (!sequence) return -1;
    if (PyTuple_GET_SIZE(sequence.get()) != n) {
        PyErr_Format(PyExc_ValueError, "%zd weights for %zd rows",
                     PyTuple_GET_SIZE(sequence.get()), n);
        return -1;
    }
    for (Py_ssize_t row = 0; row < n; row++) {
        double weight;
        if (!parse_finite("the weight", PyTuple_GET_ITEM(sequence.get(), row), weight)) {
            name_row(row);
            return -1;
        }
        out.push_back(weight);
    }
    return 0;
}

}  // namespace driftline
