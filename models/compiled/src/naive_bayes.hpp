// River's GaussianNB: the same float operations in the same order, up to the last step. There River
// calls SciPy's logsumexp, whose exp differs between processors in the last bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace driftline {

// A Gaussian of one feature in one class, by Welford.
struct Gaussian {
    double n = 0.0, mean = 0.0, sum_of_squares = 0.0;
    double deviation = 0.0;  // Derived; zero while there is none.

    void refresh();
    void learn(double x);
    double density(double x) const;
};

class NaiveBayes {
   public:
    // By class; then by class and slot. A Gaussian without examples is one that River does not have.
    std::vector<int64_t> counts;
    std::vector<std::vector<Gaussian>> gaussians;

    size_t bytes() const;
    void grow(size_t n_classes, size_t n_features);
    void learn(size_t label, const int *slots, const double *values, size_t n);
    // The probability of each class into `out`; slots below zero are features never learned.
    void predict(const int *slots, const double *values, size_t n, double *out) const;
};

}  // namespace driftline
