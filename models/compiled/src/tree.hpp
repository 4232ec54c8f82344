// River's HoeffdingTreeClassifier, and the random tree of its forest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "adwin.hpp"
#include "categories.hpp"
#include "leaf.hpp"
#include "splits.hpp"

namespace driftline {

// What an adaptive tree keeps for each node: its error, and for a split a leaf that is tried out in
// its place (River grows an alternate no further: see AdaptiveTree).
struct Watch {
    explicit Watch(const AdwinRules &rules) : adwin(rules) {}

    void learn(double error) {
        n_errors += 1.0;
        mean_error += (1.0 / n_errors) * (error - mean_error);
    }
    void reset_error() { n_errors = mean_error = 0.0; }

    Adwin adwin;
    double n_errors = 0.0;
    double mean_error = 0.0;
    int32_t alternate = -1;
};

// A leaf, or a split with its branches. The category i of a multiway split leads to child i.
struct Node {
    SplitKind kind = SplitKind::kNone;
    int32_t feature = -1;
    int32_t depth = 0;
    double value = 0.0;
    std::vector<int32_t> children;
    std::unique_ptr<CategorySlots> categories;
    std::unique_ptr<Leaf> leaf;
    std::unique_ptr<Watch> watch;

    bool is_leaf() const { return leaf != nullptr; }
    // Without its leaf, which counts itself.
    size_t bytes() const;
};

// What a model and its trees share.
struct TreeContext {
    // Parameters that only Python knows a use for.
    struct Notes {
        bool has_seed = false;
        int64_t seed = 0;
        bool has_max_depth = false;
        int64_t memory_estimate_period = 0;

        template <class Archive> void archive(Archive &a) {
            a(has_seed, seed, has_max_depth, memory_estimate_period);
        }
    };

    Notes notes;
    TreeRules rules;
    AdwinRules adwin;
    Schema schema;
    Random random;
};

struct TreeCounts {
    int64_t n_nodes = 0;
    int64_t n_branches = 0;
    int64_t n_leaves = 0;
    int64_t height = 0;
};

class Tree {
   public:
    // Draws from the generator that is shared, or from its own.
    explicit Tree(TreeContext &context, Random *own = nullptr)
        : context_(&context), random_(own == nullptr ? &context.random : own) {}

    // The next row is another one than the last.
    void forget_row() { seen_leaf_ = kNone; }
    // Fill `proba`, by class id, for `classes()`; others stay as they are.
    void predict(const Row &row, std::vector<double> &proba);
    void learn(const Row &row, int32_t cls, double weight);
    // Leave the trace in nominal observers that River's trees leave when they predict for the row
    // that is now the last.
    void trace(const Row &row);
    // What is predicted, -1 while no class is known.
    int32_t predict_class(const Row &row);

    // In the order of River's predictions.
    const std::vector<int32_t> &classes() const { return classes_; }
    TreeCounts counts() const;
    int64_t n_active_leaves() const { return n_active_; }
    int64_t n_inactive_leaves() const { return n_inactive_; }
    double total_weight() const { return weight_seen_; }
    size_t bytes() const { return bytes_ + sizeof *this; }
    // The same, counted again.
    size_t measure() const;

    template <class Archive> void archive(Archive &a) {
        a(weight_seen_, arrivals_, n_active_, n_inactive_, growth_allowed_, is_limited_,
          bytes_patience_);
        for (const int32_t cls : arrivals_) a.check_class(cls);
        bool has_root = root_ >= 0;
        a(has_root);
        if (has_root) archive_node(a, root_, 0);
        if (a.loading && !a.failed()) {
            order_classes();
            for (Node &node : nodes_) {
                if (node.is_leaf()) node.leaf->settle();
            }
            bytes_ = measure() - sizeof *this;
        }
    }

   protected:
    static constexpr int32_t kNone = -1;

    Node &node(int32_t at) { return nodes_[static_cast<size_t>(at)]; }
    const Node &node(int32_t at) const { return nodes_[static_cast<size_t>(at)]; }
    Leaf &leaf(int32_t at) { return *node(at).leaf; }
    const TreeRules &rules() const { return context_->rules; }

    // The child that a split sends the row to; kNone if it lacks the feature, or its category is
    // new to a multiway split.
    int32_t step(const Node &node, const Row &row) const;
    int32_t most_common(const Node &node) const;
    // River's `traverse(until_leaf=True)`: where a step fails, along the most common path.
    int32_t find_leaf(int32_t at, const Row &row) const;
    double total_weight(int32_t at) const;
    // Votes of a leaf as River's HoeffdingTreeClassifier has them, by share.
    void vote(int32_t at, const Row &row, std::vector<double> &votes);
    bool votes_by_bayes(const Leaf &leaf) const;
    // What naive Bayes says at a leaf, computed once a row; false if nothing.
    bool bayes(int32_t at, const Row &row);

    void begin_learning(int32_t cls, double weight);
    void keep_within_budget();
    void learn_leaf(int32_t at, const Row &row, int32_t cls, double weight);
    void deactivate(int32_t at);
    // True if it was split, or given up and started afresh. The split takes the place of the node
    // `place`: the leaf itself, or what it is an alternate of.
    bool attempt_to_split(int32_t at, int32_t place);
    // Put a node where another is; returns where that one is now, cut off from the tree.
    int32_t displace(int32_t place, Node node);
    void order_classes();
    // Leaves as River walks them.
    void collect_leaves(int32_t at, std::vector<int32_t> &found) const;

    // Whether splits and classes alone fill the budget: what was given up has not made room.
    bool has_no_room() const { return bytes_patience_ > 0.0; }
    int32_t allocate();
    int32_t add_leaf(std::vector<Share> shares, int32_t depth);
    // A branch for a category that is new to a multiway split; kNone if there is no room.
    int32_t add_branch(int32_t at, const Row &row);
    void release(int32_t at);
    void settle(int32_t at);

    TreeContext *context_;
    Random *random_;
    // Whether nodes carry a Watch.
    bool is_watched_ = false;
    std::vector<Node> nodes_;
    std::vector<int32_t> free_;
    int32_t root_ = kNone;
    // Classes in order of arrival, and in that of predictions.
    std::vector<int32_t> arrivals_;
    std::vector<int32_t> classes_;
    int64_t n_active_ = 0;
    int64_t n_inactive_ = 0;
    double weight_seen_ = 0.0;
    bool growth_allowed_ = true;
    // Whether the budget was ever reached; only then do leaves stay inactive that River wakes.
    bool is_limited_ = false;
    // Beyond this the budget is looked after again: it can't hold less than splits and classes take.
    double bytes_patience_ = 0.0;
    size_t bytes_ = 0;
    // Where the node is now that an alternate's split took the place of.
    int32_t displaced_ = kNone;

    // Shared by the prediction for a row and the learning of it.
    int32_t seen_leaf_ = kNone;
    bool has_bayes_ = false;
    bool bayes_says_ = false;
    std::vector<double> bayes_votes_;
    std::vector<double> votes_;
    std::vector<double> proba_;
    Scratch scratch_;

   private:
    void split(int32_t at, int32_t place, const Suggestion &decision);
    void enforce_size_limit(int32_t at);
    void wake(int32_t at);
    void wake_most_promising();
    void count(int32_t at, TreeCounts &counts, int64_t height) const;

    template <class Archive> void archive_node(Archive &a, int32_t &at, int depth) {
        constexpr int kDepthMax = 20000;
        a.check(depth < kDepthMax);
        if (a.failed()) return;
        if (a.loading) {
            at = static_cast<int32_t>(nodes_.size());
            nodes_.emplace_back();
        }
        // Nodes move while children are added, so none is held by reference across that.
        a(node(at).kind, node(at).depth);
        a.check(node(at).kind <= SplitKind::kNominalMultiway);
        if (is_watched_) {
            if (a.loading) node(at).watch = std::make_unique<Watch>(context_->adwin);
            Watch &watch = *node(at).watch;
            watch.adwin.archive(a);
            a(watch.n_errors, watch.mean_error);
        }
        if (node(at).kind == SplitKind::kNone) {
            if (a.loading) node(at).leaf = std::make_unique<Leaf>(std::vector<Share>(), 0);
            leaf(at).archive(a);
            return;
        }
        a(node(at).feature, node(at).value);
        a.check_feature(node(at).feature);
        size_t n_children = node(at).children.size();
        a.count(n_children);
        if (node(at).kind == SplitKind::kNominalMultiway) {
            if (a.loading) node(at).categories = std::make_unique<CategorySlots>();
            node(at).categories->archive(a);
            a.check(node(at).categories->size() == n_children);
        } else {
            a.check(n_children == 2);
        }
        if (a.loading) node(at).children.assign(n_children, kNone);
        for (size_t i = 0; i < n_children && !a.failed(); i++) {
            int32_t child = node(at).children[i];
            archive_node(a, child, depth + 1);
            node(at).children[i] = child;
        }
        if (is_watched_ && !a.failed()) archive_alternate(a, at, depth);
    }

    template <class Archive> void archive_alternate(Archive &a, int32_t at, int depth) {
        int32_t alternate = node(at).watch->alternate;
        bool has_alternate = alternate >= 0;
        a(has_alternate);
        if (!has_alternate) return;
        archive_node(a, alternate, depth + 1);
        if (a.failed()) return;
        a.check(node(alternate).is_leaf());
        node(at).watch->alternate = alternate;
    }
};

}  // namespace driftline
