#include "regression_forest.hpp"

#include <algorithm>
#include <cmath>

namespace driftline {

namespace {

// The sum of an array as numpy has it: pairwise, in blocks of eight sums beside each other.
double numpy_sum(const double *values, size_t n) {
    constexpr size_t kLanes = 8, kBlock = 128;
    if (n < kLanes) {
        double total = 0.0;
        for (size_t i = 0; i < n; i++) total += values[i];
        return total;
    }
    if (n > kBlock) {
        const size_t half = n / 2 - n / 2 % kLanes;
        return numpy_sum(values, half) + numpy_sum(values + half, n - half);
    }
    double lane[kLanes];
    std::copy_n(values, kLanes, lane);
    size_t at = kLanes;
    for (; at + kLanes <= n; at += kLanes) {
        for (size_t j = 0; j < kLanes; j++) lane[j] += values[at + j];
    }
    double total = ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
                   ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    for (; at < n; at++) total += values[at];
    return total;
}

double numpy_sum(const std::vector<double> &values) {
    return numpy_sum(values.data(), values.size());
}

}  // namespace

double SquaredErrors::normalise(double error) {
    constexpr double kMiddle = 0.5;
    variance.update(error, 1.0);
    if (variance.n == 1.0) return kMiddle;
    const double deviation = std::sqrt(variance.get());
    return deviation > 0.0 ? (error + 3.0 * deviation) / (6.0 * deviation) : kMiddle;
}

double RegressionForest::predict(const Row &row) {
    if (members_.empty()) return 0.0;
    said_.clear();
    for (Member &member : members_) said_.push_back(member.tree.predict(row));
    if (own_->takes_median) return median();
    if (!rules_->disable_weighted_vote) weigh();
    return numpy_sum(said_) / static_cast<double>(said_.size());
}

void RegressionForest::learn(const Row &row, double target) {
    begin_learning(row);
    for (Member &member : members_) {
        const double error = target - member.tree.predict(row);
        member.record.learn(error);
        if (!learn_drawn(member, row, target)) continue;
        if (!rules_->has_warnings && !rules_->has_drifts) continue;
        watch(member, member.record.normalise(error));
    }
}

// The greater a tree's error, the less its word counts.
void RegressionForest::weigh() {
    weights_.clear();
    double total = 0.0;
    for (const Member &member : members_) {
        weights_.push_back(member.record.mean);
        total += member.record.mean;
    }
    if (total == 0.0) return;
    for (double &weight : weights_) weight = total - weight;
    const double scale = numpy_sum(weights_);
    for (size_t i = 0; i < said_.size(); i++) said_[i] *= weights_[i] / scale;
}

double RegressionForest::median() {
    std::sort(said_.begin(), said_.end());
    const size_t middle = said_.size() / 2;
    if (said_.size() % 2 == 1) return said_[middle];
    return (said_[middle - 1] + said_[middle]) / 2.0;
}

}  // namespace driftline
