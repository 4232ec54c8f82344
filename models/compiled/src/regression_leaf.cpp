#include "regression_leaf.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "memory.hpp"

namespace driftline {

bool CategoryTargets::update(int32_t category, double target, double weight) {
    const auto slot = static_cast<size_t>(categories_.add(category));
    const bool is_new = slot == targets_.size();
    if (is_new) targets_.emplace_back();
    targets_[slot].update(target, weight);
    return is_new;
}

// Categories in sorted order: a branch for each where that is allowed, or else the best one alone.
void CategoryTargets::suggest(const VarianceReduction &reduction, const Feature &feature,
                              bool binary_split, RegressionSuggestion &best) const {
    constexpr size_t kMultiwayMin = 3;
    const std::vector<int32_t> &codes = categories_.codes();
    std::vector<size_t> slots(codes.size());
    std::iota(slots.begin(), slots.end(), size_t{0});
    const auto name = [&](size_t slot) -> const Name & {
        return feature.categories[static_cast<size_t>(codes[slot])];
    };
    std::sort(slots.begin(), slots.end(), [&](size_t a, size_t b) { return name(a) < name(b); });
    if (!binary_split && slots.size() >= kMultiwayMin) {
        best.kind = SplitKind::kNominalMultiway;
        for (const size_t slot : slots) {
            best.categories.push_back(codes[slot]);
            best.after.push_back(targets_[slot]);
        }
        best.merit = reduction.of(best.after);
    }
    for (const size_t slot : slots) {
        const Variance rest = reduction.before() - targets_[slot];
        best.offer(reduction.of(targets_[slot], rest), SplitKind::kNominalBinary,
                   static_cast<double>(codes[slot]), targets_[slot], rest);
    }
}

RegressionLeaf::RegressionLeaf(const RegressionLeaf &parent, const Variance &target)
    : depth(parent.depth + 1), last_split_attempt_at(target.n), target_(target),
      mean_error_(parent.mean_error_), model_error_(parent.model_error_), model_(parent.model_) {}

double RegressionLeaf::predict(const Row &row, const RegressionRules &rules) const {
    const bool is_adaptive = rules.leaf_prediction == RegressionPrediction::kAdaptive;
    if (!rules.has_models() || (is_adaptive && mean_error_ < model_error_)) return target_.mean;
    return model_.predict(row);
}

void RegressionLeaf::learn(const Row &row, double target, double weight,
                           const RegressionRules &rules, const Schema &schema, Random &random) {
    const double predicted = rules.has_models() ? model_.predict(row) : 0.0;
    if (rules.leaf_prediction == RegressionPrediction::kAdaptive) {
        mean_error_ = rules.decay * mean_error_ + python_square(target - target_.mean);
        model_error_ = rules.decay * model_error_ + python_square(target - predicted);
    }
    target_.update(target, weight);
    if (active_) observe(row, target, weight, rules, schema, random);
    if (!rules.has_models()) return;
    const size_t n_weights = model_.n_weights();
    model_.learn(row, target, weight, predicted, rules.linear);
    has_grown_ |= model_.n_weights() != n_weights;
}

void RegressionLeaf::observe(const Row &row, double target, double weight,
                             const RegressionRules &rules, const Schema &schema, Random &random) {
    const int32_t *features = row.features;
    auto n = static_cast<size_t>(row.size);
    if (rules.max_features >= 0) {
        if (sampled_.empty()) {
            sampled_ = sample_features(row, rules.max_features, schema, random);
            has_grown_ = true;
        }
        features = sampled_.data();
        n = sampled_.size();
    }
    size_t guess = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t feature = features[i];
        const double value = row[feature];
        // A category that the model has no room for counts as missing.
        const bool is_nominal = schema.features[static_cast<size_t>(feature)].is_nominal();
        if (std::isnan(value) || (is_nominal && value < 0.0)) continue;
        const size_t s = observer_of(feature, guess);
        if (s == observers_.size()) {
            if (std::find(disabled_.begin(), disabled_.end(), feature) != disabled_.end()) continue;
            observers_.emplace_back();
            observers_.back().feature = feature;
            if (is_nominal) observers_.back().seen = CategoryTargets();
            has_grown_ = true;
        }
        guess = s + 1;
        if (is_nominal) {
            has_grown_ |= std::get<CategoryTargets>(observers_[s].seen)
                              .update(static_cast<int32_t>(value), target, weight);
        } else {
            const double rounded = rules.digits < 0 ? value : python_round(value, rules.digits);
            has_grown_ |= std::get<ValueTree>(observers_[s].seen).update(rounded, target, weight);
        }
    }
}

std::vector<RegressionSuggestion> RegressionLeaf::suggest_splits(
    const VarianceReduction &reduction, const RegressionRules &rules, const Schema &schema) const {
    std::vector<RegressionSuggestion> found;
    if (rules.merit_preprune) found.emplace_back();
    for (const Observer &observer : observers_) {
        found.emplace_back();
        if (const auto *values = std::get_if<ValueTree>(&observer.seen)) {
            values->suggest(reduction, found.back());
        } else {
            const Feature &feature = schema.features[static_cast<size_t>(observer.feature)];
            std::get<CategoryTargets>(observer.seen)
                .suggest(reduction, feature, rules.binary_split, found.back());
        }
        if (found.back().kind != SplitKind::kNone) found.back().feature = observer.feature;
    }
    return found;
}

void RegressionLeaf::prune(const VarianceReduction &reduction, double best_merit,
                           double ratio_min) {
    for (Observer &observer : observers_) {
        if (auto *values = std::get_if<ValueTree>(&observer.seen)) {
            values->prune(reduction, best_merit, ratio_min);
        }
    }
    has_grown_ = true;
}

void RegressionLeaf::deactivate() {
    active_ = false;
    has_grown_ = true;
    observers_ = {};
}

void RegressionLeaf::disable(int32_t feature) {
    const size_t s = observer_of(feature, 0);
    if (s == observers_.size()) return;
    observers_.erase(observers_.begin() + static_cast<ptrdiff_t>(s));
    disabled_.push_back(feature);
    has_grown_ = true;
}

size_t RegressionLeaf::bytes() const {
    size_t n = sizeof *this + bytes_of(observers_) + bytes_of(disabled_) + bytes_of(sampled_) +
               model_.bytes();
    for (const Observer &observer : observers_) {
        n += std::visit([](const auto &seen) { return seen.bytes(); }, observer.seen);
    }
    return n;
}

ptrdiff_t RegressionLeaf::settle() {
    if (!has_grown_) return 0;
    const size_t now = bytes();
    const auto growth = static_cast<ptrdiff_t>(now) - static_cast<ptrdiff_t>(settled_bytes_);
    settled_bytes_ = now;
    has_grown_ = false;
    return growth;
}

// Events mostly have the same features in the same order, so the next one is the guess.
size_t RegressionLeaf::observer_of(int32_t feature, size_t guess) const {
    if (guess < observers_.size() && observers_[guess].feature == feature) return guess;
    size_t s = 0;
    while (s < observers_.size() && observers_[s].feature != feature) s++;
    return s;
}

}  // namespace driftline
