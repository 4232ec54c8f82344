#include "features.hpp"

#include <algorithm>

namespace driftline {

namespace {

// The common case: a float, int or bool of Python's own, and a good one.
inline bool read_plain_number(PyObject *value, double &out) {
    if (PyFloat_CheckExact(value)) {
        out = PyFloat_AS_DOUBLE(value);
    } else if (PyLong_CheckExact(value) || PyBool_Check(value)) {
        out = PyLong_AsDouble(value);
        if (out == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return false;
        }
    } else {
        return false;
    }
    return std::fabs(out) <= kNumberMax;
}

// Whether reading them runs no Python code: those of Python's own types, as nearly all are.
inline bool is_quiet(PyObject *key, PyObject *value) {
    return (PyUnicode_CheckExact(key) || PyLong_CheckExact(key)) &&
           (PyFloat_Check(value) || PyLong_CheckExact(value) || PyBool_Check(value) ||
            PyUnicode_Check(value));
}

}  // namespace

int Names::find(PyObject *key) const {
    if (!slots_) return kUnknown;
    PyObject *slot = PyDict_GetItemWithError(slots_.get(), key);
    if (slot != nullptr) return static_cast<int>(PyLong_AsLong(slot));
    return PyErr_Occurred() ? kFailed : kUnknown;
}

int Names::add(PyObject *key) {
    if (!slots_) slots_ = Ref(PyDict_New());
    if (!slots_) return kFailed;
    const int known = find(key);
    if (known != kUnknown) return known;
    Ref slot(PyLong_FromLong(size()));
    // A plain str, which compares without running Python code.
    Ref plain(PyUnicode_Check(key) ? PyUnicode_FromObject(key) : Ref::borrow(key).release());
    if (!slot || !plain || PyDict_SetItem(slots_.get(), plain.get(), slot.get()) < 0) {
        return kFailed;
    }
    names_.push_back(std::move(plain));
    return size() - 1;
}

void Names::shrink(int size) {
    while (this->size() > size) {
        if (PyDict_DelItem(slots_.get(), names_.back().get()) < 0) PyErr_Clear();
        names_.pop_back();
    }
}

void Rows::clear() {
    starts_.resize(1);
    slots_.clear();
    values_.clear();
    texts_.clear();
    held_texts_.clear();
    dense_.clear();
    unknown_.clear();
    was_loud_ = false;
}

int Rows::find(const Names &names, PyObject *key, size_t column) {
    if (check_name(key) < 0) return Names::kFailed;
    const int slot = names.find(key);
    if (slot >= 0) {
        if (column >= columns_.size()) columns_.resize(column + 1);
        columns_[column] = {Ref::borrow(key), slot};
    }
    return slot;
}

int Rows::append(const Names &names, PyObject *features) {
    if (!PyDict_Check(features)) {
        PyErr_Format(PyExc_TypeError, "features must be a dict, not %s",
                     Py_TYPE(features)->tp_name);
        return -1;
    }
    PyObject *key, *value;
    Py_ssize_t position = 0;
    size_t column = 0;
    bool dense = true, is_loud = false;
    const auto is_in_place = [&] { return slots_.back() == static_cast<int>(column); };
    bool is_read = append_usual(features, position, key, value, column, dense);
    while (!is_read) {
        if (!is_quiet(key, value)) {
            is_loud = was_loud_ = true;
            break;
        }
        if (!append_value(names, key, value, column)) return -1;
        dense &= is_in_place();
        column++;
        is_read = PyDict_Next(features, &position, &key, &value) == 0;
    }
    if (is_loud) {
        // Converting a value and comparing a key may run Python code, and that may change the dict:
        // what is left of it is held before.
        std::vector<std::pair<Ref, Ref>> rest;
        do {
            rest.emplace_back(Ref::borrow(key), Ref::borrow(value));
        } while (PyDict_Next(features, &position, &key, &value));
        for (const auto &[held_key, held_value] : rest) {
            if (!append_value(names, held_key.get(), held_value.get(), column)) return -1;
            dense &= is_in_place();
            column++;
        }
    }
    starts_.push_back(slots_.size());
    dense_.push_back(dense);
    return 0;
}

bool Rows::append_usual(PyObject *features, Py_ssize_t &position, PyObject *&key,
                        PyObject *&value, size_t &column, bool &dense) {
    const size_t start = slots_.size();
    const size_t n = std::min(static_cast<size_t>(PyDict_GET_SIZE(features)), columns_.size());
    slots_.resize(start + n);
    values_.resize(start + n);
    if (takes_text_) texts_.resize(start + n);
    bool is_read = false;
    while (true) {
        is_read = PyDict_Next(features, &position, &key, &value) == 0;
        if (is_read || column >= n || columns_[column].first.get() != key) break;
        const size_t at = start + column;
        if (!read_plain_number(value, values_[at])) {
            if (!takes_text_ || !PyUnicode_CheckExact(value)) break;
            values_[at] = 0.0;
            texts_[at] = value;
            held_texts_.push_back(Ref::borrow(value));
        }
        slots_[at] = columns_[column].second;
        dense &= slots_[at] == static_cast<int>(column);
        column++;
    }
    slots_.resize(start + column);
    values_.resize(start + column);
    if (takes_text_) texts_.resize(start + column);
    return is_read;
}

bool Rows::append_value(const Names &names, PyObject *key, PyObject *value, size_t column) {
    double number = 0.0;
    const bool is_text = takes_text_ && PyUnicode_Check(value);
    const bool is_nan = takes_nan_ && PyFloat_Check(value) &&
                        std::isnan(number = PyFloat_AS_DOUBLE(value));
    if (!is_text && !is_nan && !read_plain_number(value, number)) {
        // What is refused is named, which runs its code.
        const Ref held_key = Ref::borrow(key), held_value = Ref::borrow(value);
        if (read_number(key, value, number) < 0) return false;
    }
    int slot;
    if (column < columns_.size() && columns_[column].first.get() == key) {
        slot = columns_[column].second;
    } else {
        slot = find(names, key, column);
        if (slot == Names::kFailed) return false;
        if (slot == Names::kUnknown) unknown_.emplace_back(slots_.size(), Ref::borrow(key));
    }
    push(slot, number);
    if (is_text) {
        texts_.back() = value;
        held_texts_.push_back(Ref::borrow(value));
    }
    return true;
}

int Rows::append_all(const Names &names, PyObject *sequence) {
    // Reading may run Python code, so the size is asked for again each time.
    for (Py_ssize_t row = 0; row < PySequence_Fast_GET_SIZE(sequence); row++) {
        const Ref features = Ref::borrow(PySequence_Fast_GET_ITEM(sequence, row));
        if (append(names, features.get()) < 0) {
            name_row(row);
            return -1;
        }
    }
    return 0;
}

int Rows::learn_names(Names &names) {
    if (unknown_.empty()) return 0;
    for (const auto &[position, name] : unknown_) {
        const int slot = names.add(name.get());
        if (slot == Names::kFailed) return -1;
        slots_[position] = slot;
    }
    for (size_t row = 0; row < size(); row++) {
        bool dense = true;
        for (size_t j = 0; j < width(row); j++) dense &= slots(row)[j] == static_cast<int>(j);
        dense_[row] = dense;
    }
    return 0;
}

bool is_exact(PyObject *integer) {
    constexpr long long kExactMax = 1LL << 53;
    int overflow;
    const long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
    return overflow == 0 && -kExactMax < value && value < kExactMax;
}

int check_name(PyObject *name) {
    if (PyUnicode_Check(name)) return 0;
    if (PyLong_Check(name)) {
        if (is_exact(name)) return 0;
        PyErr_Format(PyExc_ValueError, "the feature name %R is too large: integers must be below "
                     "2**53", name);
        return -1;
    }
    PyErr_Format(PyExc_TypeError, "the feature name %R is neither a str nor an int", name);
    return -1;
}

int read_number(PyObject *name, PyObject *value, double &out) {
    const PyNumberMethods *methods = Py_TYPE(value)->tp_as_number;
    const bool is_number = methods != nullptr && (methods->nb_float || methods->nb_index);
    if (!is_number || PyComplex_Check(value)) {
        PyErr_Format(PyExc_TypeError, "feature %R is %R: this model takes numbers", name, value);
        return -1;
    }
    out = PyFloat_AsDouble(value);
    if (out == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
        PyErr_Clear();
        out = HUGE_VAL;
    }
    if (std::fabs(out) <= kNumberMax) return 0;
    PyErr_Format(PyExc_ValueError, "feature %R is %R: numbers must be finite and within 1e15", name,
                 value);
    return -1;
}

void name_row(Py_ssize_t row) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    const Ref message(value == nullptr ? nullptr : PyObject_Str(value));
    if (!message) {
        PyErr_Restore(type, value, traceback);
        return;
    }
    PyErr_Format(type, "row %zd: %U", row, message.get());
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

int check_numbers(const double *values, Py_ssize_t n_rows, Py_ssize_t n_columns) {
    const Py_ssize_t n = n_rows * n_columns;
    bool good = true;
    for (Py_ssize_t i = 0; i < n; i++) good &= std::fabs(values[i]) <= kNumberMax;
    if (good) return 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (std::fabs(values[i]) <= kNumberMax) continue;
        const Ref value(PyFloat_FromDouble(values[i]));
        if (!value) return -1;
        PyErr_Format(PyExc_ValueError,
                     "row %zd, column %zd: %R: numbers must be finite and within 1e15",
                     i / n_columns, i % n_columns, value.get());
        return -1;
    }
    return 0;
}

}  // namespace driftline
