// Arguments of METH_FASTCALL | METH_KEYWORDS methods, which River's pipelines pass by keyword.
#pragma once

#include "module.hpp"

namespace driftline {

// Puts positional and keyword arguments into `values`, in the order of `names`; those not given stay
// as they are. The first `n_required` must be given.
template <int n>
bool parse_arguments(const char *method, const char *const (&names)[n], int n_required,
                     PyObject *const *arguments, Py_ssize_t n_positional, PyObject *keywords,
                     PyObject *(&values)[n]) {
    if (n_positional > n) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments (%zd given)", method, n,
                     n_positional);
        return false;
    }
    for (Py_ssize_t i = 0; i < n_positional; i++) values[i] = arguments[i];
    const Py_ssize_t n_keywords = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t k = 0; k < n_keywords; k++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, k);
        int i = 0;
        while (i < n && PyUnicode_CompareWithASCIIString(keyword, names[i]) != 0) i++;
        if (i == n) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method,
                         keyword);
            return false;
        }
        if (i < n_positional) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", method,
                         names[i]);
            return false;
        }
        values[i] = arguments[n_positional + k];
    }
    for (int i = 0; i < n_required; i++) {
        if (values[i] == nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() missing the argument '%s'", method, names[i]);
            return false;
        }
    }
    return true;
}

// A finite float argument.
inline bool parse_finite(const char *what, PyObject *value, double &out) {
    out = PyFloat_AsDouble(value);
    if (out == -1.0 && PyErr_Occurred()) return false;
    if (out - out != 0.0) {
        PyErr_Format(PyExc_ValueError, "%s is %R: it must be finite", what, value);
        return false;
    }
    return true;
}

// A buffer of a given item format and number of dimensions, contiguous in C order.
class Array {
   public:
    Array() { view_.obj = nullptr; }
    Array(const Array &) = delete;
    Array &operator=(const Array &) = delete;
    ~Array() {
        if (view_.obj != nullptr) PyBuffer_Release(&view_);
    }
    bool open(const char *what, PyObject *object, const char *format, int n_dimensions,
              bool writable = false) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(object, &view_, flags) < 0) {
            view_.obj = nullptr;
            return false;
        }
        if (view_.ndim != n_dimensions || view_.format == nullptr ||
            view_.format[0] != format[0] || view_.format[1] != '\0') {
            PyErr_Format(PyExc_TypeError, "%s must have %d dimensions and the item format '%s'",
                         what, n_dimensions, format);
            return false;
        }
        return true;
    }
    Py_ssize_t size(int dimension) const { return view_.shape[dimension]; }
    template <typename T>
    T *data() const {
        return static_cast<T *>(view_.buf);
    }

   private:
    Py_buffer view_;
};

}  // namespace driftline
