#include "logistic.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "memory.hpp"
#include "numbers.hpp"

namespace driftline {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Where value j of a row has its slot. For dense rows the compiler sees plain loops over arrays.
struct DenseSlot {
    size_t operator()(size_t j) const { return j; }
};
struct SparseSlot {
    const int *slots;
    size_t operator()(size_t j) const { return static_cast<size_t>(slots[j]); }
};

}  // namespace

void Logistic::reset() {
    intercept = options.intercept_init;
    n_iterations = 0;
    l1_total = 0.0;
    for (auto *values : {&counts, &means, &variances, &weights, &accumulated, &ftrl_n, &l1_applied,
                         &divisors_}) {
        values->clear();
    }
}

std::vector<std::vector<double> *> Logistic::arrays() {
    std::vector<std::vector<double> *> found{&counts, &means, &variances, &weights};
    if (options.optimizer != Optimizer::sgd) found.push_back(&accumulated);
    if (options.optimizer == Optimizer::ftrl) found.push_back(&ftrl_n);
    if (options.l1 != 0.0) found.push_back(&l1_applied);
    return found;
}

size_t Logistic::bytes() const {
    // All arrays are as long as the first, with what is derived and what is kept for its memory.
    constexpr size_t kArrays = 11;
    return kArrays * bytes_of(counts);
}

void Logistic::grow(size_t n_features) {
    for (auto *values : {&counts, &means, &variances, &weights, &accumulated, &ftrl_n, &l1_applied,
                         &scaled_, &gradients_, &unsure_}) {
        if (values->size() < n_features) values->resize(n_features, 0.0);
    }
    if (divisors_.size() < n_features) {
        divisors_.resize(n_features, options.with_std ? kInfinity : 1.0);
    }
}

void Logistic::refresh() {
    divisors_.clear();
    grow(counts.size());
    for (size_t slot = 0; options.with_std && slot < variances.size(); slot++) {
        if (variances[slot] != 0.0) divisors_[slot] = python_sqrt(variances[slot]);
    }
}

template <typename Slot>
double Logistic::margin(Slot slot, const double *values, size_t n) const {
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) {
        sum += contribution(slot(j), values[j]);
    }
    return sum + intercept;
}

double Logistic::probability(const int *slots, const double *values, size_t n,
                             bool is_dense) const {
    double raw;
    if (is_dense) {
        raw = margin(DenseSlot{}, values, n);
    } else {
        double sum = 0.0;
        for (size_t j = 0; j < n; j++) {
            if (slots[j] < 0) continue;
            sum += contribution(static_cast<size_t>(slots[j]), values[j]);
        }
        raw = sum + intercept;
    }
    if (raw < -30.0) return 0.0;
    if (raw > 30.0) return 1.0;
    return 1.0 / (1.0 + std::exp(-raw));
}

void Logistic::learn(const int *slots, const double *values, size_t n, bool is_dense, bool y,
                     double w) {
    if (is_dense) {
        scale(DenseSlot{}, values, n);
        step(DenseSlot{}, n, y, w);
    } else {
        scale(SparseSlot{slots}, values, n);
        step(SparseSlot{slots}, n, y, w);
    }
}

// Update the statistics of each feature, then scale by them into scaled_.
template <typename Slot>
void Logistic::scale(Slot slot, const double *values, size_t n) {
    double *const count = counts.data(), *const mean = means.data();
    double *const variance = variances.data(), *const divisor = divisors_.data();
    double *const scaled = scaled_.data();
    for (size_t j = 0; j < n; j++) {
        const size_t s = slot(j);
        const double c = count[s] + 1.0, old_mean = mean[s], off = values[j] - old_mean;
        const double new_mean = old_mean + off / c;
        count[s] = c;
        mean[s] = new_mean;
        scaled[j] = values[j] - new_mean;
        variance[s] += (off * scaled[j] - variance[s]) / c;
    }
    if (!options.with_std) return;
    double *const unsure = unsure_.data();
    for (size_t j = 0; j < n; j++) {
        const double x = variance[slot(j)], root = std::sqrt(x);
        divisor[slot(j)] = x == 0.0 ? kInfinity : root;
        unsure[j] = x == 0.0 ? 0.0 : power::root_is_unsure(x, root);
    }
    for (size_t j = 0; j < n; j++) {
        if (unsure[j] != 0.0) divisor[slot(j)] = std::pow(variance[slot(j)], power::kHalf);
    }
    for (size_t j = 0; j < n; j++) scaled[j] /= divisor[slot(j)];
}

// The gradient of the log loss, weighted and clipped.
double Logistic::loss_gradient(double margin, bool y, double w) const {
    const double sign = y ? 1.0 : -1.0, weight = y ? options.weight_pos : options.weight_neg;
    const double z = margin * sign;
    double gradient;
    if (z > 18.0) {
        gradient = weight * std::exp(-z) * -sign;
    } else if (z < -18.0) {
        gradient = weight * -sign;
    } else {
        gradient = weight * -sign / (std::exp(z) + 1.0);
    }
    gradient *= w;
    return std::max(std::min(gradient, options.clip_gradient), -options.clip_gradient);
}

template <typename Slot>
void Logistic::step(Slot slot, size_t n, bool y, double w) {
    double *const weight = weights.data(), *const scaled = scaled_.data();
    double *const gradient = gradients_.data();
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) sum += weight[slot(j)] * scaled[j];
    const double loss = loss_gradient(sum + intercept, y, w);
    for (size_t j = 0; j < n; j++) gradient[j] = scaled[j] * loss;
    if (options.l2 != 0.0) {
        for (size_t j = 0; j < n; j++) gradient[j] += options.l2 * weight[slot(j)];
    }
    intercept -= options.intercept_rate * loss;
    const double *const o = options.optimizer_options;
    switch (options.optimizer) {
        case Optimizer::sgd:
            for (size_t j = 0; j < n; j++) weight[slot(j)] -= o[0] * gradient[j];
            break;
        case Optimizer::ada_grad:
            for (size_t j = 0; j < n; j++) {
                const size_t s = slot(j);
                accumulated[s] += python_square(gradient[j]);
                weight[s] -= o[0] / python_sqrt(accumulated[s] + o[1]) * gradient[j];
            }
            break;
        case Optimizer::ftrl:
            for (size_t j = 0; j < n; j++) {
                const size_t s = slot(j);
                const double z = accumulated[s], root = python_sqrt(ftrl_n[s]);
                if (std::fabs(z) > o[2]) {
                    const double rate = python_reciprocal((o[1] + root) / o[0] + o[3]);
                    weight[s] = -rate * (z - (z > 0.0 ? o[2] : -o[2]));
                }
                const double square = python_square(gradient[j]);
                const double sigma = (python_sqrt(ftrl_n[s] + square) - root) / o[0];
                accumulated[s] += gradient[j] - sigma * weight[s];
                ftrl_n[s] += square;
            }
            break;
    }
    n_iterations++;
    if (options.l1 != 0.0) penalise(slot, n);
}

// The cumulative L1 penalty: each weight is drawn to zero by what it has been spared so far.
template <typename Slot>
void Logistic::penalise(Slot slot, size_t n) {
    l1_total += options.l1 * options.optimizer_options[0];
    for (size_t j = 0; j < n; j++) {
        const size_t s = slot(j);
        const double before = weights[s];
        if (before > 0.0) {
            weights[s] = std::max(0.0, before - (l1_total + l1_applied[s]));
        } else if (before < 0.0) {
            weights[s] = std::min(0.0, before + (l1_total - l1_applied[s]));
        }
        l1_applied[s] += weights[s] - before;
    }
}

}  // namespace driftline
