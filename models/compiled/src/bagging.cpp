#include "bagging.hpp"

#include <algorithm>

namespace driftline {

namespace {

// The ids of False and True, which a bag of logistic regressions knows from the start.
const std::vector<int32_t> kBinary = {0, 1};

}  // namespace

const std::vector<int32_t> &BaggedLogistic::classes() { return kBinary; }

void BaggedLogistic::predict(const Row &row, std::vector<double> &proba) {
    lay_out(row);
    const double p = logistic_.probability(row.features, values_.data(), values_.size(), is_dense_);
    proba[0] = 1.0 - p;
    proba[1] = p;
}

void BaggedLogistic::learn(const Row &row, int32_t cls, double weight) {
    lay_out(row);
    logistic_.learn(row.features, values_.data(), values_.size(), is_dense_, cls == 1, weight);
}

void BaggedLogistic::lay_out(const Row &row) {
    values_.clear();
    is_dense_ = true;
    int32_t highest = -1;
    for (int32_t j = 0; j < row.size; j++) {
        const int32_t feature = row.features[j];
        values_.push_back(row[feature]);
        is_dense_ &= feature == j;
        highest = std::max(highest, feature);
    }
    logistic_.grow(static_cast<size_t>(highest + 1));
}

void Bagging::forget_row() {
    for (Member &member : members_) {
        std::visit([](auto &model) { model.forget_row(); }, member.model);
    }
}

// Votes are added up in the order of the members, as River's Counter does.
void Bagging::predict(const Row &row, std::vector<double> &proba, std::vector<int32_t> &order) {
    order.clear();
    proba_.resize(proba.size());
    for (Member &member : members_) {
        std::visit(
            [&](auto &model) {
                model.predict(row, proba_);
                for (const int32_t cls : model.classes()) {
                    const auto at = static_cast<size_t>(cls);
                    if (std::find(order.begin(), order.end(), cls) == order.end()) {
                        order.push_back(cls);
                        proba[at] = proba_[at];
                    } else {
                        proba[at] += proba_[at];
                    }
                }
            },
            member.model);
    }
    double total = 0.0;
    for (const int32_t cls : order) total += proba[static_cast<size_t>(cls)];
    if (!(total > 0.0)) return;
    for (const int32_t cls : order) proba[static_cast<size_t>(cls)] /= total;
}

void Bagging::attribute(const Row &row, int32_t cls, Attribution &found) {
    for (Member &member : members_) {
        if (auto *adaptive = std::get_if<AdaptiveTree>(&member.model)) {
            adaptive->attribute(row, cls, 1.0, found);
        } else if (auto *tree = std::get_if<Tree>(&member.model)) {
            tree->attribute(row, cls, 1.0, found);
        }
    }
    found.average();
}

void Bagging::learn(const Row &row, int32_t cls) {
    bool has_changed = false;
    for (Member &member : members_) {
        const int k = draw();
        for (int i = 0; i < k; i++) {
            std::visit(
                [&](auto &model) {
                    model.forget_row();
                    model.learn(row, cls, 1.0);
                },
                member.model);
        }
        const int32_t predicted = predict_class(member, row);
        if (predicted < 0 && !rules_->watches_hits) continue;
        const double before = member.adwin.mean();
        const bool is_cut = member.adwin.update((predicted == cls) == rules_->watches_hits ? 1 : 0);
        has_changed |= is_cut && member.adwin.mean() > before;
    }
    if (has_changed) replace_worst();
}

const Tree *Bagging::tree(size_t i) const {
    const Member &member = members_[i];
    if (const auto *found = std::get_if<AdaptiveTree>(&member.model)) return found;
    return std::get_if<Tree>(&member.model);
}

size_t Bagging::bytes() const {
    size_t n = randoms_.size() * sizeof(Random);
    for (const Member &member : members_) {
        n += sizeof(Member) + member.adwin.bytes();
        n += std::visit([](const auto &model) { return model.bytes(); }, member.model);
    }
    return n;
}

size_t Bagging::measure() const {
    size_t n = randoms_.size() * sizeof(Random);
    for (const Member &member : members_) {
        n += sizeof(Member) + member.adwin.bytes();
        n += std::visit([](const auto &model) { return model.measure(); }, member.model);
    }
    return n;
}

void Bagging::plant() {
    const auto n = static_cast<size_t>(rules_->n_models);
    members_.clear();
    members_.reserve(n);
    // Never resized from here on: trees know the places of theirs.
    if (rules_->base == BaggingRules::Base::kAdaptiveTree) randoms_.resize(n);
    for (size_t i = 0; i < n; i++) members_.push_back(fresh_member(i));
}

Bagging::Member Bagging::fresh_member(size_t i) {
    const Adwin adwin(rules_->adwin);
    switch (rules_->base) {
        case BaggingRules::Base::kTree:
            break;
        case BaggingRules::Base::kAdaptiveTree:
            randoms_[i] = rules_->base_random;
            return {AdaptiveTree(*context_, rules_->adaptive, &randoms_[i]), adwin};
        case BaggingRules::Base::kLogistic:
            return {BaggedLogistic(rules_->logistic), adwin};
    }
    return {Tree(*context_), adwin};
}

int Bagging::draw() {
    Random &random = context_->random;
    switch (rules_->draw) {
        case BaggingRules::Draw::kPoisson:
            break;
        case BaggingRules::Draw::kOneMore:
            return random.poisson(1.0) + 1;
        case BaggingRules::Draw::kAtMostOnce:
            return std::min(random.poisson(1.0), 1);
    }
    return random.poisson(rules_->rate);
}

int32_t Bagging::predict_class(Member &member, const Row &row) {
    return std::visit(
        [&](auto &model) {
            model.forget_row();
            proba_.resize(context_->schema.classes.size());
            model.predict(row, proba_);
            model.trace(row);
            int32_t best = -1;
            for (const int32_t cls : model.classes()) {
                if (best < 0 ||
                    proba_[static_cast<size_t>(cls)] > proba_[static_cast<size_t>(best)]) {
                    best = cls;
                }
            }
            return best;
        },
        member.model);
}

void Bagging::replace_worst() {
    const auto worst = std::max_element(
        members_.begin(), members_.end(),
        [](const Member &a, const Member &b) { return a.adwin.mean() < b.adwin.mean(); });
    *worst = fresh_member(static_cast<size_t>(worst - members_.begin()));
    n_changes_++;
}

}  // namespace driftline
