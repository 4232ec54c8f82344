#include "regression_tree.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace driftline {

double RegressionTree::predict(const Row &row) {
    if (root_ < 0) return 0.0;
    if (seen_leaf_ < 0) {
        seen_leaf_ = find_leaf(root_, row);
        prediction_ = leaf(seen_leaf_).predict(row, rules());
    }
    return prediction_;
}

void RegressionTree::attribute(const Row &row, double times, Attribution &found) {
    if (root_ < 0) return;
    credit_way(row, [](const RegressionLeaf &leaf) { return leaf.mass(); }, times, found);
}

void RegressionTree::learn(const Row &row, double target, double weight) {
    begin_learning(weight);
    bool by_tests;
    const int32_t at = reach_leaf(row, by_tests);
    forget_mass(at);
    leaf(at).learn(row, target, weight, rules(), context_->schema, *random_);
    settle(at);
    if (by_tests && is_due(at)) {
        const double weight_seen = leaf(at).total_weight();
        attempt_to_split(at);
        if (node(at).is_leaf()) leaf(at).last_split_attempt_at = weight_seen;
    }
    forget_row();
    keep_within_budget();
}

void RegressionTree::attempt_to_split(int32_t at) {
    RegressionLeaf &here = leaf(at);
    const VarianceReduction reduction = here.reduction(rules());
    const auto found = here.suggest_splits(reduction, rules(), context_->schema);
    if (found.empty()) return;
    // As after River's stable sort: the last of the greatest, and the last of the rest.
    size_t best = 0;
    for (size_t i = 1; i < found.size(); i++) {
        if (found[i].merit >= found[best].merit) best = i;
    }
    const double greatest = found[best].merit;
    bool should_split = found.size() == 1;
    if (!should_split) {
        double second = -std::numeric_limits<double>::infinity();
        for (size_t i = 0; i < found.size(); i++) {
            if (i != best) second = std::max(second, found[i].merit);
        }
        const double bound =
            std::sqrt(std::log(1.0 / rules().delta) / (2.0 * here.total_weight()));
        const double ratio = second / greatest;
        should_split = greatest > 0.0 && (ratio < 1.0 - bound || bound < rules().tau);
        const double ratio_min = ratio - 2.0 * bound;
        if (rules().remove_poor_attrs) disable_poor(at, found, greatest, ratio_min);
        if (!should_split && greatest > 0.0 && second > 0.0) {
            here.prune(reduction, greatest, ratio_min);
        }
        settle(at);
    }
    if (!should_split) return;
    if (found[best].kind == SplitKind::kNone) {
        deactivate(at);
    } else {
        split(at, found[best]);
    }
    enforce_size_limit(at);
}

void RegressionTree::split(int32_t at, const RegressionSuggestion &decision) {
    Leaves leaves;
    for (const Variance &target : decision.after) {
        leaves.push_back(std::make_unique<RegressionLeaf>(leaf(at), target));
    }
    grow(at, at, decision, std::move(leaves), decision.categories);
}

// What is much worse than the second best is not watched any more. Where the best is worth nothing,
// River would divide by zero; then nothing is known to be worse.
void RegressionTree::disable_poor(int32_t at, const std::vector<RegressionSuggestion> &found,
                                  double greatest, double ratio_min) {
    if (greatest == 0.0) return;
    for (const RegressionSuggestion &other : found) {
        if (other.feature < 0 || !(other.merit / greatest < ratio_min)) continue;
        // River asks whether the name is true, so a feature named 0 or "" stays.
        const auto feature = static_cast<size_t>(other.feature);
        if (!context_->schema.features[feature].name.is_falsy()) leaf(at).disable(other.feature);
    }
}

}  // namespace driftline
