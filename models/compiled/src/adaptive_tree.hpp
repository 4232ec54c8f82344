// River's HoeffdingAdaptiveTreeClassifier: a tree whose nodes watch their own error.
#pragma once

#include "tree.hpp"

namespace driftline {

struct AdaptiveRules {
    bool bootstrap_sampling = true;
    double drift_window_threshold = 300.0;
    double switch_significance = 0.05;

    template <class Archive> void archive(Archive &a) {
        a(bootstrap_sampling, drift_window_threshold, switch_significance);
    }
};

// When the error of a split rises, it grows an alternate: a leaf that learns beside it. In River an
// alternate that splits replaces what it was an alternate of (it is handed that one's parent), so an
// alternate is always a leaf; and what was replaced still learns the event that replaced it. Both
// are followed here, since the random numbers and the counts depend on them.
class AdaptiveTree : public Tree {
   public:
    AdaptiveTree(TreeContext &context, const AdaptiveRules &rules, Random *own = nullptr)
        : Tree(context, own), adaptive_(&rules) {
        is_watched_ = true;
    }

    void predict(const Row &row, std::vector<double> &proba);
    // As a tree's; an alternate's part leaves the way where the alternate stands.
    void attribute(const Row &row, int32_t cls, double times, Attribution &found);
    void learn(const Row &row, int32_t cls, double weight);

    int64_t n_alternate_trees() const { return n_alternates_; }
    int64_t n_pruned_alternate_trees() const { return n_pruned_; }
    int64_t n_switch_alternate_trees() const { return n_switched_; }

    template <class Archive> void archive(Archive &a) {
        a(n_alternates_, n_pruned_, n_switched_);
        Tree::archive(a);
    }

   private:
    // Go the way of a row from the root, telling of each leaf whose votes count, alternates
    // included, and of each split with the branch that is taken.
    template <class Meet, class Take> void walk(const Row &row, Meet &&meet, Take &&take) const;
    void learn_node(int32_t at, const Row &row, int32_t cls, double weight, bool is_root);
    void learn_split(int32_t at, const Row &row, int32_t cls, double weight, bool is_root);
    // True if the leaf was an alternate (`place` is not it) and has replaced what it stood beside.
    bool learn_adaptive_leaf(int32_t at, int32_t place, const Row &row, int32_t cls, double weight);
    void learn_child(int32_t at, const Row &row, int32_t cls, double weight);
    bool observe_error(Watch &watch, bool is_wrong);
    void start_alternate(int32_t at);
    // Where the split is now: elsewhere if its alternate took its place.
    int32_t judge_alternate(int32_t at);
    void drop_alternate(int32_t at);
    void forget_children(int32_t at);
    int64_t count_leaves(int32_t at) const;
    void weigh(int32_t at, const Row &row, std::vector<double> &votes);
    int32_t predicted_class(int32_t at, const Row &row);

    const AdaptiveRules *adaptive_;
    int64_t n_alternates_ = 0;
    int64_t n_pruned_ = 0;
    int64_t n_switched_ = 0;
    // The class that a leaf predicts for the row that is being learned.
    int32_t known_leaf_ = kNone;
    int32_t known_class_ = kNone;
    std::vector<double> weighed_;
};

}  // namespace driftline
