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

bool read_target(PyObject *target, double &out) {
    const PyNumberMethods *methods = Py_TYPE(target)->tp_as_number;
    const bool is_number = methods != nullptr && (methods->nb_float || methods->nb_index);
    if (!is_number || PyComplex_Check(target)) {
        PyErr_Format(PyExc_TypeError, "the target is %R: it must be a number", target);
        return false;
    }
    out = PyFloat_AsDouble(target);
    if (out == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return false;
        PyErr_Clear();
        out = HUGE_VAL;
    }
    if (std::fabs(out) <= kNumberMax) return true;
    PyErr_Format(PyExc_ValueError, "the target is %R: it must be finite and within 1e15", target);
    return false;
}

bool read_targets(PyObject *targets, size_t n_rows, std::vector<double> &out) {
    out.clear();
    const Ref tuple(PySequence_Tuple(targets));
    if (!tuple) return false;
    const Py_ssize_t n = PyTuple_GET_SIZE(tuple.get());
    if (static_cast<size_t>(n) != n_rows) {
        PyErr_Format(PyExc_ValueError, "%zd targets for %zu rows", n, n_rows);
        return false;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        double target;
        if (!read_target(PyTuple_GET_ITEM(tuple.get(), i), target)) {
            name_row(i);
            return false;
        }
        out.push_back(target);
    }
    return true;
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

bool check_tree_weight(double weight) {
    if (weight > 0.0 && weight < kNumberMax) return true;
    const Ref given(PyFloat_FromDouble(weight));
    if (given) {
        PyErr_Format(PyExc_ValueError, "the weight is %R: it must be above 0 and below 1e15",
                     given.get());
    }
    return false;
}

bool read_tree_weights(PyObject *weights, size_t n, std::vector<double> &out) {
    if (read_weights(weights, static_cast<Py_ssize_t>(n), out) < 0) return false;
    for (size_t i = 0; i < n; i++) {
        if (check_tree_weight(out[i])) continue;
        name_row(static_cast<Py_ssize_t>(i));
        return false;
    }
    return true;
}

}  // namespace driftline
