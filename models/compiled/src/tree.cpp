#include "tree.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace driftline {

void Tree::predict(const Row &row, std::vector<double> &proba) {
    for (const int32_t cls : classes_) proba[static_cast<size_t>(cls)] = 0.0;
    if (root_ < 0) return;
    const int32_t at = see_leaf(row);
    const std::vector<double> &votes = vote(at, row);
    const std::vector<Share> &shares = leaf(at).shares();
    for (size_t i = 0; i < votes.size(); i++) {
        proba[static_cast<size_t>(shares[i].cls)] = votes[i];
    }
}

int32_t Tree::see_leaf(const Row &row) {
    if (seen_leaf_ < 0) {
        seen_leaf_ = find_leaf(root_, row, was_by_tests_);
        has_bayes_ = false;
    }
    return seen_leaf_;
}

int32_t Tree::predict_class(const Row &row) {
    proba_.resize(context_->schema.classes.size());
    predict(row, proba_);
    int32_t best = kNone;
    for (const int32_t cls : classes_) {
        if (best < 0 || proba_[static_cast<size_t>(cls)] > proba_[static_cast<size_t>(best)]) {
            best = cls;
        }
    }
    return best;
}

void Tree::attribute(const Row &row, int32_t cls, double times, Attribution &found) {
    if (root_ < 0) return;
    const std::vector<double> &votes = vote(see_leaf(row), row);
    if (!(std::accumulate(votes.begin(), votes.end(), 0.0) > 0.0)) return;
    found.votes += times;
    const int32_t at = credit_way(row, share_of(cls), times, found);
    credit_leaf(at, row, cls, times, found);
}

void Tree::credit_leaf(int32_t at, const Row &row, int32_t cls, double times,
                       Attribution &found) {
    if (!votes_by_bayes(leaf(at))) return;
    leaf(at).attribute(row, cls, times, found.contributions, scratch_);
}

void Tree::trace(const Row &row) {
    if (root_ < 0) return;
    const int32_t at = see_leaf(row);
    if (!votes_by_bayes(leaf(at))) return;
    leaf(at).touch(row);
    settle(at);
}

void Tree::learn(const Row &row, int32_t cls, double weight) {
    begin_learning(cls, weight);
    bool by_tests;
    const int32_t at = learning_leaf(row, by_tests);
    learn_leaf(at, row, cls, weight);
    if (by_tests && is_due(at)) {
        const double weight_seen = leaf(at).total_weight();
        attempt_to_split(at, at);
        if (node(at).is_leaf()) leaf(at).last_split_attempt_at = weight_seen;
    }
    forget_row();
    keep_within_budget();
}

// Where tests alone have led a row that was predicted for, it is learned; the way needs walking again
// where nodes on it are to forget their masses.
int32_t Tree::learning_leaf(const Row &row, bool &by_tests) {
    if (seen_leaf_ < 0 || !was_by_tests_ || !masses_.empty()) return reach_leaf(row, by_tests);
    by_tests = true;
    return seen_leaf_;
}

const std::vector<double> &Tree::vote(int32_t at, const Row &row) {
    if (!votes_by_bayes(leaf(at))) {
        leaf(at).majority(votes_);
    } else if (bayes(at, row)) {
        return bayes_votes_;
    } else {
        votes_.clear();
    }
    return votes_;
}

bool Tree::votes_by_bayes(const Leaf &leaf) const {
    if (!leaf.is_active()) return false;
    switch (rules().leaf_prediction) {
        case LeafPrediction::kMajorityClass:
            break;
        case LeafPrediction::kNaiveBayes:
            return leaf.total_weight() >= rules().nb_threshold;
        case LeafPrediction::kNaiveBayesAdaptive:
            return leaf.nb_correct_weight >= leaf.mc_correct_weight;
    }
    return false;
}

bool Tree::bayes(int32_t at, const Row &row) {
    if (seen_leaf_ != at) {
        seen_leaf_ = at;
        has_bayes_ = was_by_tests_ = false;
    }
    if (!has_bayes_) {
        bayes_says_ = leaf(at).naive_bayes(row, bayes_votes_, scratch_);
        has_bayes_ = true;
    }
    return bayes_says_;
}

void Tree::begin_learning(int32_t cls, double weight) {
    if (std::find(arrivals_.begin(), arrivals_.end(), cls) == arrivals_.end()) {
        arrivals_.push_back(cls);
        order_classes();
    }
    TreeShape::begin_learning(weight);
}

void Tree::learn_leaf(int32_t at, const Row &row, int32_t cls, double weight) {
    forget_mass(at);
    Leaf &here = leaf(at);
    const bool is_adaptive = rules().leaf_prediction == LeafPrediction::kNaiveBayesAdaptive;
    if (here.is_active() && is_adaptive) {
        const auto is_right = [&](const std::vector<double> &votes) {
            const int32_t best = Leaf::first_greatest(votes);
            return best >= 0 && here.shares()[static_cast<size_t>(best)].cls == cls;
        };
        here.majority(votes_);
        // Added in any case: what is right is hard to foretell, so a branch would cost more.
        here.mc_correct_weight += votes_.empty() || is_right(votes_) ? weight : 0.0;
        here.nb_correct_weight += bayes(at, row) && is_right(bayes_votes_) ? weight : 0.0;
        here.touch(row);
    } else if (is_watched_ || (rules().leaf_prediction == LeafPrediction::kNaiveBayes &&
                               here.total_weight() >= rules().nb_threshold)) {
        // An adaptive tree's leaves ask naive Bayes in any case. A tree that predicts by it is
        // taken to have scored the row before.
        here.touch(row);
    }
    here.learn(row, cls, weight, rules(), context_->schema, *random_, scratch_);
    settle(at);
}

bool Tree::attempt_to_split(int32_t at, int32_t place) {
    Leaf &here = leaf(at);
    if (here.is_pure()) return false;
    Merit merit(rules(), context_->schema, here.shares());
    const std::vector<Suggestion> found = suggest_splits(here, rules(), context_->schema, merit);
    if (found.empty()) return false;
    // As after River's stable sort: the last of the greatest, and the last of the rest.
    size_t best = 0;
    for (size_t i = 1; i < found.size(); i++) {
        if (found[i].merit >= found[best].merit) best = i;
    }
    bool should_split = found.size() == 1;
    if (!should_split) {
        double second = -std::numeric_limits<double>::infinity();
        for (size_t i = 0; i < found.size(); i++) {
            if (i != best) second = std::max(second, found[i].merit);
        }
        const double range = merit.range();
        const double bound = std::sqrt((range * range * std::log(1.0 / rules().delta)) /
                                       (2.0 * here.total_weight()));
        should_split = found[best].merit - second > bound || bound < rules().tau;
        if (rules().remove_poor_attrs &&
            rules().leaf_prediction == LeafPrediction::kMajorityClass && !is_watched_) {
            for (const Suggestion &other : found) {
                if (other.feature < 0 || !(found[best].merit - other.merit > bound)) continue;
                // River asks whether the name is true, so a feature named 0 or "" stays.
                const auto feature = static_cast<size_t>(other.feature);
                if (context_->schema.features[feature].name.is_falsy()) continue;
                here.disable(other.feature);
            }
            settle(at);
        }
    }
    if (!should_split) return false;
    if (found[best].kind == SplitKind::kNone) {
        deactivate(at);
    } else {
        split(at, place, found[best]);
    }
    enforce_size_limit(at);
    return true;
}

void Tree::order_classes() {
    classes_ = arrivals_;
    if (is_watched_) {
        // River's adaptive tree walks its set of classes, the others sort theirs.
        order_as_set(classes_, context_->schema.classes);
        return;
    }
    const std::vector<int32_t> &rank = context_->schema.class_rank;
    std::sort(classes_.begin(), classes_.end(), [&](int32_t a, int32_t b) {
        return rank[static_cast<size_t>(a)] < rank[static_cast<size_t>(b)];
    });
}

void Tree::split(int32_t at, int32_t place, const Suggestion &decision) {
    Children children = children_of(leaf(at), decision, context_->schema);
    Leaves leaves;
    for (std::vector<Share> &shares : children.shares) {
        leaves.push_back(std::make_unique<Leaf>(std::move(shares), leaf(at).depth + 1));
    }
    grow(at, place, decision, std::move(leaves), children.categories);
}

}  // namespace driftline
