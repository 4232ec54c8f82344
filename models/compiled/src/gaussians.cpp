#include "gaussians.hpp"

#include <cmath>
#include <limits>

#include "wide.hpp"

namespace driftline {

// 0.5 * math.log(math.tau)
const double kHalfLogTau = 0.5 * std::log(6.283185307179586);

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The loops are without branches, so that they are done for several observers at once.

DRIFTLINE_WIDE
void say(const double *__restrict x, const double *__restrict mean,
         const double *__restrict neg_two_variance, const double *__restrict half_log_variance,
         double *__restrict terms, double half_log_tau, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double d = x[i] - mean[i];
        const double t = d * d / neg_two_variance[i] - half_log_tau - half_log_variance[i];
        terms[i] = t == t ? t : 0.0;
    }
}

DRIFTLINE_WIDE
void bear(const double *__restrict values, const double *__restrict n, double *__restrict low,
          double *__restrict high, double *__restrict born, double now, size_t size) {
    for (size_t i = 0; i < size; i++) {
        const bool is_new = n[i] == 0.0;
        low[i] = is_new ? values[i] : low[i];
        high[i] = is_new ? values[i] : high[i];
        born[i] = is_new ? now : born[i];
    }
}

// The variance is left where half of its logarithm belongs; zero: not known.
inline void tell(double n, double squares, double &neg_two_variance, double &variance) {
    const double found = squares / (n - 1.0);
    const bool is_known = n > 1.0 && found > 0.0;
    neg_two_variance = is_known ? -2.0 * found : -kInfinity;
    variance = is_known ? found : 0.0;
}

DRIFTLINE_WIDE
void learn(const double *__restrict values, double weight, double *__restrict mean,
           double *__restrict neg_two_variance, double *__restrict variance, double *__restrict n,
           double *__restrict squares, double *__restrict low, double *__restrict high,
           size_t size) {
    for (size_t i = 0; i < size; i++) {
        const double value = values[i];
        low[i] = value < low[i] ? value : low[i];
        high[i] = value > high[i] ? value : high[i];
        const double old_mean = mean[i], total = n[i] + weight;
        const double new_mean = old_mean + (weight / total) * (value - old_mean);
        const double sum = squares[i] + weight * (value - old_mean) * (value - new_mean);
        n[i] = total;
        mean[i] = new_mean;
        squares[i] = sum;
        tell(total, sum, neg_two_variance[i], variance[i]);
    }
}

void take_logarithms(double *variances, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double variance = variances[i];
        variances[i] = variance > 0.0 ? 0.5 * std::log(variance) : -kHalfLogTau;
    }
}

}  // namespace

void log_densities(const double *x, const double *mean, const double *neg_two_variance,
                   const double *half_log_variance, double *terms, size_t n) {
    say(x, mean, neg_two_variance, half_log_variance, terms, kHalfLogTau, n);
}

void learn_gaussians(const GaussianColumns &columns, const double *values, double weight, double now,
                     bool are_born, size_t n) {
    if (!are_born) bear(values, columns.n, columns.min, columns.max, columns.born, now, n);
    learn(values, weight, columns.mean, columns.neg_two_variance, columns.half_log_variance,
          columns.n, columns.s, columns.min, columns.max, n);
    take_logarithms(columns.half_log_variance, n);
}

void refresh_gaussians(const GaussianColumns &columns, size_t n) {
    for (size_t i = 0; i < n; i++) {
        tell(columns.n[i], columns.s[i], columns.neg_two_variance[i],
             columns.half_log_variance[i]);
    }
    take_logarithms(columns.half_log_variance, n);
}

}  // namespace driftline
