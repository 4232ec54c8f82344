#include "forest.hpp"

#include <algorithm>
#include <cmath>

namespace driftline {

int32_t ForestRules::max_features(int32_t n) const {
    double wanted = n;
    switch (features) {
        case Features::kAll:
            break;
        case Features::kSqrt:
            wanted = std::nearbyint(std::sqrt(n));
            break;
        case Features::kLog2:
            wanted = n > 0 ? std::nearbyint(std::log2(n)) : 0.0;
            break;
        case Features::kNumber:
            wanted = n_features;
            break;
        case Features::kShare:
            wanted = std::trunc(n_features * n);
            break;
    }
    if (wanted < 0.0) wanted += n;
    return static_cast<int32_t>(std::min<double>(std::max(wanted, 1.0), n));
}

void Forest::plant() {
    members_.reserve(static_cast<size_t>(rules_->n_models));
    for (int32_t i = 0; i < rules_->n_models; i++) members_.emplace_back(*context_, *rules_);
}

void Forest::forget_row() {
    for (Member &member : members_) member.tree.forget_row();
}

void Forest::predict(const Row &row, std::vector<double> &proba, std::vector<int32_t> &order) {
    order.clear();
    proba_.resize(proba.size());
    for (Member &member : members_) {
        member.tree.predict(row, proba_);
        const double weight = member.weight(*rules_);
        const bool is_first = order.empty();
        for (const int32_t cls : member.tree.classes()) {
            const auto at = static_cast<size_t>(cls);
            const double vote = proba_[at] * weight;
            if (is_first || std::find(order.begin(), order.end(), cls) == order.end()) {
                order.push_back(cls);
                proba[at] = vote;
            } else {
                proba[at] += vote;
            }
        }
    }
    double total = 0.0;
    for (const int32_t cls : order) total += proba[static_cast<size_t>(cls)];
    if (total <= 0.0) return;
    for (const int32_t cls : order) proba[static_cast<size_t>(cls)] /= total;
}

void Forest::attribute(const Row &row, int32_t cls, Attribution &found) {
    for (Member &member : members_) {
        member.tree.attribute(row, cls, member.weight(*rules_), found);
    }
    found.average();
}

void Forest::learn(const Row &row, int32_t cls) {
    if (!is_planted()) {
        context_->rules.max_features = rules_->max_features(row.size);
        plant();
    }
    for (Member &member : members_) {
        const bool is_wrong = member.tree.predict_class(row) != cls;
        member.n_seen += 1.0;
        member.n_right += is_wrong ? 0.0 : 1.0;
        const int k = context_->random.poisson(rules_->lambda);
        if (k == 0) continue;
        if (member.background.has_value()) {
            member.background->forget_row();
            member.background->learn(row, cls, k);
        }
        member.tree.learn(row, cls, k);
        watch(member, is_wrong ? 1.0 : 0.0);
    }
}

int64_t Forest::n_warnings(int32_t tree) const {
    if (tree >= 0) return members_[static_cast<size_t>(tree)].n_warnings;
    int64_t n = 0;
    for (const Member &member : members_) n += member.n_warnings;
    return n;
}

int64_t Forest::n_drifts(int32_t tree) const {
    if (tree >= 0) return members_[static_cast<size_t>(tree)].n_drifts;
    int64_t n = 0;
    for (const Member &member : members_) n += member.n_drifts;
    return n;
}

size_t Forest::bytes() const {
    size_t n = 0;
    for (const Member &member : members_) {
        n += sizeof member + member.tree.bytes() + member.warning.bytes() + member.drift.bytes();
        if (member.background.has_value()) n += member.background->bytes();
    }
    return n;
}

size_t Forest::measure() const {
    size_t n = 0;
    for (const Member &member : members_) {
        n += sizeof member + member.tree.measure() + member.warning.bytes() + member.drift.bytes();
        if (member.background.has_value()) n += member.background->measure();
    }
    return n;
}

// A warning plants a tree in the background; a drift puts it, or else a new one, in place.
void Forest::watch(Member &member, double error) {
    if (rules_->has_warnings && member.warning.update(error)) {
        member.background.emplace(*context_);
        member.warning = Adwin(rules_->warning);
        member.n_warnings++;
    }
    if (!rules_->has_drifts || !member.drift.update(error)) return;
    if (member.background.has_value()) {
        member.tree = std::move(*member.background);
        member.background.reset();
        member.warning = Adwin(rules_->warning);
    } else {
        member.tree = Tree(*context_);
    }
    member.drift = Adwin(rules_->drift);
    member.n_right = member.n_seen = 0.0;
    member.n_drifts++;
}

}  // namespace driftline
