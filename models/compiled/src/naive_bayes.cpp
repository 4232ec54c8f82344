#include "naive_bayes.hpp"

#include <algorithm>
#include <cmath>

#include "memory.hpp"
#include "module.hpp"

namespace driftline {

namespace {

// River's own figures, as it writes them.
constexpr double kDensityEpsilon = 10e-10;
const double kLogDensityEpsilon = std::log(kDensityEpsilon);
const double kRootOfTau = std::sqrt(2.0 * 3.141592653589793);

// Python's sum() of floats. From 3.12 on it carries what additions round away.
class PythonSum {
   public:
    void add(double x) {
#if PY_VERSION_HEX >= 0x030C0000
        const double sum = sum_ + x;
        lost_ += std::fabs(sum_) >= std::fabs(x) ? (sum_ - sum) + x : (x - sum) + sum_;
        sum_ = sum;
#else
        sum_ += x;
#endif
    }
    double get() const { return sum_ + lost_; }

   private:
    double sum_ = 0.0, lost_ = 0.0;
};

double sum_of_lanes(const double (&lane)[8]) {
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

}  // namespace

void Gaussian::refresh() {
    const double variance = n > 0.0 ? sum_of_squares / n : 0.0;
    deviation = variance > 0.0 ? std::sqrt(variance) : 0.0;
}

void Gaussian::learn(double x) {
    const double old_mean = mean;
    n += 1.0;
    mean += (1.0 / n) * (x - mean);
    sum_of_squares += (x - old_mean) * (x - mean);
    refresh();
}

double Gaussian::density(double x) const {
    if (deviation == 0.0) return 0.0;
    const double z = (x - mean) / deviation;
    return std::exp(-0.5 * z * z) / kRootOfTau / deviation;
}

size_t NaiveBayes::bytes() const {
    size_t n = bytes_of(counts) + bytes_of(gaussians);
    for (const std::vector<Gaussian> &of_class : gaussians) n += bytes_of(of_class);
    return n;
}

void NaiveBayes::grow(size_t n_classes, size_t n_features) {
    if (gaussians.size() < n_classes) gaussians.resize(n_classes);
    for (auto &of_class : gaussians) {
        if (of_class.size() < n_features) of_class.resize(n_features);
    }
    if (counts.size() < n_classes) counts.resize(n_classes, 0);
}

void NaiveBayes::learn(size_t label, const int *slots, const double *values, size_t n) {
    counts[label]++;
    auto &of_class = gaussians[label];
    for (size_t j = 0; j < n; j++) of_class[static_cast<size_t>(slots[j])].learn(values[j]);
}

void NaiveBayes::predict(const int *slots, const double *values, size_t n, double *out) const {
    int64_t total = 0;
    for (const int64_t count : counts) total += count;
    for (size_t c = 0; c < counts.size(); c++) {
        PythonSum sum;
        for (size_t j = 0; j < n; j++) {
            const Gaussian *gaussian =
                slots[j] < 0 ? nullptr : &gaussians[c][static_cast<size_t>(slots[j])];
            const double density = gaussian == nullptr ? 0.0 : gaussian->density(values[j]);
            sum.add(density == 0.0 ? kLogDensityEpsilon : std::log(kDensityEpsilon + density));
        }
        const double prior = static_cast<double>(counts[c]) / static_cast<double>(total);
        out[c] = std::log(prior) + sum.get();
    }
    // As SciPy: the largest apart, for precision, and those equal to it with it; the rest summed as
    // NumPy does, in eight lanes that are added up pairwise.
    const double most = *std::max_element(out, out + counts.size());
    const size_t n_in_lanes = counts.size() < 8 ? 0 : counts.size() / 8 * 8;
    double n_most = 0.0, lanes[8] = {0.0}, others = 0.0;
    for (size_t c = 0; c < counts.size(); c++) {
        const bool is_most = out[c] == most;
        n_most += is_most;
        const double share = is_most ? 0.0 : std::exp(out[c] - most);
        if (c == n_in_lanes && c > 0) others = sum_of_lanes(lanes);
        (c < n_in_lanes ? lanes[c % 8] : others) += share;
    }
    if (n_in_lanes == counts.size()) others = sum_of_lanes(lanes);
    const double log_sum = std::log1p(others / n_most) + std::log(n_most) + most;
    for (size_t c = 0; c < counts.size(); c++) out[c] = std::exp(out[c] - log_sum);
}

}  // namespace driftline
