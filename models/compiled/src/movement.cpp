// How far features moved between two sets of rows: see models/movement.py, which has the tests of
// chance, and the same in Python.
#include <algorithm>
#include <cmath>
#include <vector>

#include "features.hpp"
#include "module.hpp"

namespace driftline {

namespace {

// The values of one feature before and after.
struct Column {
    Ref name;
    std::vector<double> sides[2];
    bool is_number = true;

    void add(size_t side, PyObject *value) {
        double number = std::nan("");
        if (PyFloat_CheckExact(value)) {
            number = PyFloat_AS_DOUBLE(value);
        } else if (PyLong_CheckExact(value)) {
            number = PyLong_AsDouble(value);
            if (number == -1.0 && PyErr_Occurred()) {
                PyErr_Clear();
                number = HUGE_VAL;
            }
        }
        // What has no order is Python's to compare, or to refuse.
        is_number = is_number && std::fabs(number) <= kNumberMax;
        sides[side].push_back(number);
    }
};

// Rows mostly have the same key objects in the same order, so a column is looked for in its place.
class Table {
   public:
    bool read(size_t side, PyObject *rows) {
        const Ref fast(PySequence_Fast(rows, "rows must be a list or a tuple"));
        if (!fast) return false;
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); i++) {
            // Comparing a name may run Python code, and that may change the rows.
            const Ref held_row = Ref::borrow(PySequence_Fast_GET_ITEM(fast.get(), i));
            PyObject *row = held_row.get();
            if (!PyDict_Check(row)) {
                PyErr_SetString(PyExc_TypeError, "rows must be dicts");
                return false;
            }
            PyObject *key, *value;
            Py_ssize_t position = 0;
            size_t place = 0;
            while (PyDict_Next(row, &position, &key, &value)) {
                Ref held_key, held_value;
                if (place >= columns.size() || columns[place].name.get() != key) {
                    held_key = Ref::borrow(key);
                    held_value = Ref::borrow(value);
                    const int found = names_.add(key);
                    if (found < 0) return false;
                    place = static_cast<size_t>(found);
                    if (place == columns.size()) columns.emplace_back().name = Ref::borrow(key);
                }
                columns[place++].add(side, value);
            }
        }
        return true;
    }

    std::vector<Column> columns;

   private:
    Names names_;
};

// The Kolmogorov-Smirnov distance of two sorted samples.
double distance_of(const std::vector<double> &a, const std::vector<double> &b) {
    const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
    size_t i = 0, j = 0;
    double distance = 0.0;
    while (i < a.size() && j < b.size()) {
        const double at = std::min(a[i], b[j]);
        while (i < a.size() && a[i] <= at) i++;
        while (j < b.size() && b[j] <= at) j++;
        const double apart = std::fabs(static_cast<double>(i) / n - static_cast<double>(j) / m);
        distance = std::max(distance, apart);
    }
    return distance;
}

double mean_of(const std::vector<double> &values) {
    double sum = 0.0;
    for (const double value : values) sum += value;
    return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

PyObject *compare_numbers(PyObject *, PyObject *const *arguments, Py_ssize_t n) {
    if (n != 2) {
        PyErr_SetString(PyExc_TypeError, "compare_numbers() takes rows before and rows after");
        return nullptr;
    }
    return guarded([&]() -> PyObject * {
        Table table;
        if (!table.read(0, arguments[0]) || !table.read(1, arguments[1])) return nullptr;
        Ref found(PyDict_New());
        if (!found) return nullptr;
        for (Column &column : table.columns) {
            Ref compared = Ref::borrow(Py_None);
            if (column.is_number) {
                auto &[a, b] = column.sides;
                std::sort(a.begin(), a.end());
                std::sort(b.begin(), b.end());
                compared = Ref(Py_BuildValue("dddnn", distance_of(a, b), mean_of(a), mean_of(b),
                                             a.size(), b.size()));
            }
            if (!compared ||
                PyDict_SetItem(found.get(), column.name.get(), compared.get()) < 0) {
                return nullptr;
            }
        }
        return found.release();
    });
}

PyMethodDef functions[] = {
    {"compare_numbers", fast_method(compare_numbers), METH_FASTCALL,
     "compare_numbers(before, after)\n--\n\n"
     "Give distance, means and sizes of each feature; None where a value is not a number."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

int add_movement(PyObject *module) { return PyModule_AddFunctions(module, functions); }

}  // namespace driftline
