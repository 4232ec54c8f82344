#include "regression_forest.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

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
    ask(row);
    if (own_->takes_median) return median();
    if (!rules_->disable_weighted_vote && weigh()) {
        for (size_t i = 0; i < said_.size(); i++) said_[i] *= weights_[i];
    }
    return numpy_sum(said_) / static_cast<double>(said_.size());
}

void RegressionForest::attribute(const Row &row, Attribution &found) {
    if (own_->takes_median) {
        ask(row);
        share_middle();
    } else {
        if (rules_->disable_weighted_vote || !weigh()) weights_.assign(members_.size(), 1.0);
        // Of weights that add up to 1, River takes the mean once more.
        for (double &weight : weights_) weight /= static_cast<double>(members_.size());
    }
    for (size_t i = 0; i < members_.size(); i++) {
        if (weights_[i] != 0.0) members_[i].tree.attribute(row, weights_[i], found);
    }
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

void RegressionForest::ask(const Row &row) {
    said_.clear();
    for (Member &member : members_) said_.push_back(member.tree.predict(row));
}

// The greater a tree's error, the less its word counts. False while none has erred.
bool RegressionForest::weigh() {
    weights_.clear();
    double total = 0.0;
    for (const Member &member : members_) {
        weights_.push_back(member.record.mean);
        total += member.record.mean;
    }
    if (total == 0.0) return false;
    for (double &weight : weights_) weight = total - weight;
    const double scale = numpy_sum(weights_);
    for (double &weight : weights_) weight /= scale;
    return true;
}

double RegressionForest::median() {
    std::sort(said_.begin(), said_.end());
    const size_t middle = said_.size() / 2;
    if (said_.size() % 2 == 1) return said_[middle];
    return (said_[middle - 1] + said_[middle]) / 2.0;
}

// Of trees that say the same, the first ones come first.
void RegressionForest::share_middle() {
    const size_t n = said_.size();
    order_.resize(n);
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return said_[a] < said_[b]; });
    weights_.assign(n, 0.0);
    if (n == 0) return;
    weights_[order_[(n - 1) / 2]] += 0.5;
    weights_[order_[n / 2]] += 0.5;
}

}  // namespace driftline
