// Feature dicts read straight from CPython's dicts, and checked whole before any state changes.
#pragma once

#include <cmath>
#include <vector>

#include "module.hpp"

namespace driftline {

// The edge accepts numbers up to this; beyond it, sums of squares lose what they are for, and one such value ruins a model for good.
constexpr double kNumberMax = 1e15;

// The features a model has learned, by name, each with a slot in its arrays; in order of arrival.
class Names {
   public:
    int size() const { return static_cast<int>(names_.size()); }
    PyObject *name(int slot) const { return names_[slot].get(); }
    // The slot of a feature, kUnknown, or kFailed with an exception set.
    int find(PyObject *key) const;
    // The slot of a feature that is known from now on, or kFailed.
    int add(PyObject *key);
    // Forget the newest, down to a size.
    void shrink(int size);

    static constexpr int kUnknown = -1;
    static constexpr int kFailed = -2;

   private:
    Ref slots_;  // A dict: names are compared as Python compares them.
    std::vector<Ref> names_;
};

// Rows of features as slots and numbers, in the order of their dicts.
class Rows {
   public:
    // Where a kernel takes text, `texts` has it for each value, or null for a number. A kernel may
    // take NaN for a missing value; all others refuse it.
    explicit Rows(bool takes_text = false, bool takes_nan = false)
        : takes_text_(takes_text), takes_nan_(takes_nan) {}

    void clear();
    // Append a row; -1 with an exception that names the feature if a value is refused.
    int append(const Names &names, PyObject *features);
    // Append dicts from a list or tuple; the exception names the row as well.
    int append_all(const Names &names, PyObject *sequence);
    // Give slots to features that are new, once all else was found good.
    int learn_names(Names &names);

    size_t size() const { return starts_.size() - 1; }
    size_t width(size_t row) const { return starts_[row + 1] - starts_[row]; }
    const int *slots(size_t row) const { return slots_.data() + starts_[row]; }
    const double *values(size_t row) const { return values_.data() + starts_[row]; }
    double *values(size_t row) { return values_.data() + starts_[row]; }
    PyObject *const *texts(size_t row) const { return texts_.data() + starts_[row]; }
    // Of all rows: they lie one after the other.
    size_t n_values() const { return slots_.size(); }
    // Whether any value is a text.
    bool has_text() const { return !held_texts_.empty(); }
    // Whether all keys and values were of Python's own types, and of features that are known.
    bool is_settled() const { return !was_loud_ && unknown_.empty(); }
    // Whether value j is that of slot j throughout, as it is when all events have all features.
    bool is_dense(size_t row) const { return dense_[row] != 0; }

   private:
    // Reads on while keys are those of the last row and values plain, as nearly always. True if
    // that is all.
    bool append_usual(PyObject *features, Py_ssize_t &position, PyObject *&key, PyObject *&value,
                      size_t &column, bool &dense);
    bool append_value(const Names &names, PyObject *key, PyObject *value, size_t column);
    void push(int slot, double number) {
        slots_.push_back(slot);
        values_.push_back(number);
        if (takes_text_) texts_.push_back(nullptr);
    }
    int find(const Names &names, PyObject *key, size_t column);

    bool takes_text_;
    bool takes_nan_;
    bool was_loud_ = false;
    std::vector<size_t> starts_{0};
    std::vector<int> slots_;
    std::vector<double> values_;
    std::vector<PyObject *> texts_;
    std::vector<Ref> held_texts_;
    std::vector<char> dense_;
    // Positions and names of values whose feature is unknown.
    std::vector<std::pair<size_t, Ref>> unknown_;
    // Events mostly have the same key objects in the same order, so each column remembers its own.
    std::vector<std::pair<Ref, int>> columns_;
};

// Whether a float holds an int exactly, so that a dump of it comes back as it was.
bool is_exact(PyObject *integer);

// A feature's name is a str or such an int; -1 with an exception set if it is neither.
int check_name(PyObject *name);

// A feature's number: finite and within kNumberMax, or -1 with an exception set.
int read_number(PyObject *name, PyObject *value, double &out);

// The row of an array as an exception names it, before the message of the one that is set.
void name_row(Py_ssize_t row);

// Refuse an array that holds what a feature must not; the exception names row and column.
int check_numbers(const double *values, Py_ssize_t n_rows, Py_ssize_t n_columns);

}  // namespace driftline
