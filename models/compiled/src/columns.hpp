// Labels, weights and columns of batches, checked whole before any state changes.
#pragma once

#include <vector>

#include "arguments.hpp"
#include "features.hpp"

namespace driftline {

// A binary label: True, False or what equals them; -1 with an exception set otherwise.
int read_binary_label(PyObject *label);

// The slots of an array's columns, remembered for the tuple of names they came with.
class Columns {
   public:
    // -1 with an exception set if the names do not fit the number of columns.
    int open(const Names &names, PyObject *tuple, Py_ssize_t n_columns);
    // Give slots to columns that are new.
    int learn_names(Names &names);
    const int *slots() const { return slots_.data(); }
    bool is_dense() const { return dense_; }

   private:
    Ref tuple_;
    std::vector<int> slots_;
    bool all_known_ = false;
    bool dense_ = false;
};

// A target of regression: a number within kNumberMax; false with an exception set otherwise.
bool read_target(PyObject *target, double &out);

// Those of a batch of so many rows.
bool read_targets(PyObject *targets, size_t n_rows, std::vector<double> &out);

// Weights of a batch: None, or a sequence of finite numbers as long as the batch.
int read_weights(PyObject *weights, Py_ssize_t n, std::vector<double> &out);

// Whether a tree may learn with it: above 0 and below 1e15; false with an exception set otherwise.
bool check_tree_weight(double weight);
bool read_tree_weights(PyObject *weights, size_t n, std::vector<double> &out);

}  // namespace driftline
