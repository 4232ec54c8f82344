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

void RegressionForest::plant() {
    const ForestRules &rules = rules_->forest;
    members_.reserve(static_cast<size_t>(rules.n_models));
    for (int32_t i = 0; i < rules.n_models; i++) members_.emplace_back(*context_, rules);
}

void RegressionForest::forget_row() {
    for (Member &member : members_) member.tree.forget_row();
}

double RegressionForest::predict(const Row &row) {
    if (members_.empty()) return 0.0;
    said_.clear();
    for (Member &member : members_) said_.push_back(member.tree.predict(row));
    if (rules_->takes_median) return median();
    if (!rules_->forest.disable_weighted_vote) weigh();
    return numpy_sum(said_) / static_cast<double>(said_.size());
}

void RegressionForest::learn(const Row &row, double target) {
    const ForestRules &rules = rules_->forest;
    if (members_.empty()) {
        context_->rules.max_features = rules.max_features(row.size);
        plant();
    }
    for (Member &member : members_) {
        const double error = target - member.tree.predict(row);
        member.n_seen += 1.0;
        member.squared_error +=
            (1.0 / member.n_seen) * (python_square(error) - member.squared_error);
        const int k = context_->random.poisson(rules.lambda);
        if (k == 0) continue;
        if (member.background.has_value()) member.background->learn(row, target, k);
        member.tree.learn(row, target, k);
        watch(member, error);
    }
}

size_t RegressionForest::bytes() const {
    size_t n = 0;
    for (const Member &member : members_) {
        n += sizeof member + member.tree.bytes() + member.warning.bytes() + member.drift.bytes();
        if (member.background.has_value()) n += member.background->bytes();
    }
    return n;
}

size_t RegressionForest::measure() const {
    size_t n = 0;
    for (const Member &member : members_) {
        n += sizeof member + member.tree.measure() + member.warning.bytes() + member.drift.bytes();
        if (member.background.has_value()) n += member.background->measure();
    }
    return n;
}

// The greater a tree's error, the less its word counts.
void RegressionForest::weigh() {
    weights_.clear();
    double total = 0.0;
    for (const Member &member : members_) {
        weights_.push_back(member.squared_error);
        total += member.squared_error;
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

double RegressionForest::normalise(Member &member, double error) {
    constexpr double kMiddle = 0.5;
    member.error.update(error, 1.0);
    if (member.error.n == 1.0) return kMiddle;
    const double deviation = std::sqrt(member.error.get());
    return deviation > 0.0 ? (error + 3.0 * deviation) / (6.0 * deviation) : kMiddle;
}

// A warning plants a tree in the background; a drift puts it, or else a new one, in place.
void RegressionForest::watch(Member &member, double error) {
    const ForestRules &rules = rules_->forest;
    if (!rules.has_warnings && !rules.has_drifts) return;
    const double place = normalise(member, error);
    if (rules.has_warnings && member.warning.update(place)) {
        member.background.emplace(*context_);
        member.warning = Adwin(rules.warning);
        member.n_warnings++;
    }
    if (!rules.has_drifts || !member.drift.update(place)) return;
    if (member.background.has_value()) {
        member.tree = std::move(*member.background);
        member.background.reset();
        member.warning = Adwin(rules.warning);
    } else {
        member.tree = RegressionTree(*context_);
    }
    member.drift = Adwin(rules.drift);
    member.squared_error = member.n_seen = 0.0;
    member.n_drifts++;
}

}  // namespace driftline
