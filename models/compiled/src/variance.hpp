// River's stats.Var: the mean and variance of weighted targets, added, taken away and merged.
#pragma once

#include "numbers.hpp"

namespace driftline {

// Every operation is in River's order.
struct Variance {
    double n = 0.0;
    double mean = 0.0;
    double s = 0.0;

    void update(double x, double weight) {
        const double old_mean = mean;
        n += weight;
        mean += (weight / n) * (x - old_mean);
        s += weight * (x - old_mean) * (x - mean);
    }

    double get() const { return n > 1.0 ? s / (n - 1.0) : 0.0; }

    Variance &operator+=(const Variance &other) {
        const double total = n + other.n;
        s = s + other.s + python_square(mean - other.mean) * n * other.n / total;
        mean = (n * mean + other.n * other.mean) / total;
        n = total;
        return *this;
    }

    Variance &operator-=(const Variance &other) {
        const double old_n = n;
        n -= other.n;
        if (n > 0.0) {
            mean = (old_n * mean - other.n * other.mean) / n;
        } else {
            n = 0.0;
            mean = 0.0;
        }
        s = s - other.s - python_square(mean - other.mean) * n * other.n / (n + other.n);
        return *this;
    }

    friend Variance operator+(Variance left, const Variance &right) { return left += right; }
    friend Variance operator-(Variance left, const Variance &right) { return left -= right; }

    template <class Archive> void archive(Archive &a) {
        a.compact(n);
        a(mean);
        a.compact(s);
        a.check(n >= 0.0);
    }
};

}  // namespace driftline
