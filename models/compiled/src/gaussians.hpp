// The loops over a leaf's Gaussians, column by column, for as many observers as there are.
#pragma once

#include <cstddef>

namespace driftline {

// Half of the logarithm of tau, as Python has it.
extern const double kHalfLogTau;

// A class's columns; each holds one cell an observer. The first three are all that naive Bayes reads.
struct GaussianColumns {
    double *mean;
    double *neg_two_variance;
    double *half_log_variance;
    double *n;
    double *s;
    double *min;
    double *max;
    double *born;
};

// The logarithm of each Gaussian's density at `x`, zero where that is NaN.
void log_densities(const double *x, const double *mean, const double *neg_two_variance,
                   const double *half_log_variance, double *terms, size_t n);

// Learn a value each. Cells that have learned none are born `now`; `are_born` promises that there
// are no such.
void learn_gaussians(const GaussianColumns &columns, const double *values, double weight, double now,
                     bool are_born, size_t n);

// What naive Bayes reads, from what was learned: twice the variance, negative, and half of its
// logarithm.
void refresh_gaussians(const GaussianColumns &columns, size_t n);

}  // namespace driftline
