// What all trees are, whatever their leaves learn: splits, the way of an event, counts and memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "adwin.hpp"
#include "categories.hpp"
#include "leaf.hpp"
#include "memory.hpp"
#include "suggestion.hpp"

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
template <class LeafType> struct TreeNode {
    SplitKind kind = SplitKind::kNone;
    int32_t feature = -1;
    int32_t depth = 0;
    double value = 0.0;
    std::vector<int32_t> children;
    std::unique_ptr<CategorySlots> categories;
    std::unique_ptr<LeafType> leaf;
    std::unique_ptr<Watch> watch;

    bool is_leaf() const { return leaf != nullptr; }
    // Without its leaf, which counts itself.
    size_t bytes() const {
        size_t n = sizeof *this + bytes_of(children);
        if (categories != nullptr) n += sizeof *categories + categories->bytes();
        if (watch != nullptr) n += sizeof *watch + watch->adwin.bytes();
        return n;
    }
};

// What a model and its trees share.
template <class RulesType> struct Context {
    using Rules = RulesType;

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
    Rules rules;
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

// What the leaves below a node have seen, added up: of one class, or of the target, and the weight of
// all. Kept by those who ask for it.
struct Mass {
    double sum = 0.0;
    double total = 0.0;
    bool is_known = false;
};

// Why a prediction is what it is: `base` and what each feature contributes, by id; what is left is
// the features' together. `votes` is the weight of the trees that it is the mean of.
struct Attribution {
    double base = 0.0;
    double votes = 0.0;
    std::vector<double> contributions;

    void clear(size_t n_features) {
        base = votes = 0.0;
        contributions.assign(n_features, 0.0);
    }
    // After the last tree.
    void average() {
        if (votes <= 0.0) return;
        base /= votes;
        for (double &contribution : contributions) contribution /= votes;
    }
};

template <class LeafType, class ContextType> class TreeShape {
   public:
    // Draws from the generator that is shared, or from its own.
    explicit TreeShape(ContextType &context, Random *own = nullptr)
        : context_(&context), random_(own == nullptr ? &context.random : own) {}

    // The next row is another one than the last.
    void forget_row() { seen_leaf_ = kNone; }

    TreeCounts counts() const {
        TreeCounts found;
        if (root_ >= 0) count(root_, found, 1);
        return found;
    }
    int64_t n_active_leaves() const { return n_active_; }
    int64_t n_inactive_leaves() const { return n_inactive_; }
    double total_weight() const { return weight_seen_; }

   protected:
    using Node = TreeNode<LeafType>;
    using Leaves = std::vector<std::unique_ptr<LeafType>>;

    static constexpr int32_t kNone = -1;

    Node &node(int32_t at) { return nodes_[static_cast<size_t>(at)]; }
    const Node &node(int32_t at) const { return nodes_[static_cast<size_t>(at)]; }
    LeafType &leaf(int32_t at) { return *node(at).leaf; }
    const typename ContextType::Rules &rules() const { return context_->rules; }

    // The child that a split sends the row to; kNone if it lacks the feature, or its category is
    // new to a multiway split.
    int32_t step(const Node &node, const Row &row) const;
    int32_t most_common(const Node &node) const;
    // River's `traverse(until_leaf=True)`: where a step fails, along the most common path.
    int32_t find_leaf(int32_t at, const Row &row, bool &by_tests) const;
    int32_t find_leaf(int32_t at, const Row &row) const {
        bool by_tests;
        return find_leaf(at, row, by_tests);
    }
    double total_weight(int32_t at) const;

    // What is below the node changes; it is called for every node on the way of what is learned.
    void forget_mass(int32_t at) {
        if (static_cast<size_t>(at) < masses_.size()) masses_[static_cast<size_t>(at)] = Mass();
    }

    // The mean of what the leaves below a node have seen, each of which `mass_of` tells; `otherwise`
    // where nothing was seen.
    template <class MassOf> double mean_below(int32_t at, const MassOf &mass_of, double otherwise) {
        masses_.resize(nodes_.size());
        const Mass &mass = mass_below(at, mass_of);
        return mass.total > 0.0 ? mass.sum / mass.total : otherwise;
    }
    // Credit a split with the change from the mean below it to that of the branch, which is given.
    template <class MassOf>
    double credit_split(int32_t at, int32_t branch, const Row &row, const MassOf &mass_of,
                        double mean, double times, Attribution &found) {
        const double next = mean_below(branch, mass_of, mean);
        const int32_t feature = node(at).feature;
        // A way that was taken for want of the feature is not its doing.
        if (row.has(feature)) {
            found.contributions[static_cast<size_t>(feature)] += times * (next - mean);
        }
        return next;
    }
    // Credit all splits on the way of a row, from the root's mean on; gives the leaf.
    template <class MassOf>
    int32_t credit_way(const Row &row, const MassOf &mass_of, double times, Attribution &found) {
        int32_t at = root_;
        double mean = mean_below(at, mass_of, 0.0);
        found.base += times * mean;
        while (!node(at).is_leaf()) {
            const int32_t next = step(node(at), row);
            const int32_t branch = next >= 0 ? next : most_common(node(at));
            mean = credit_split(at, branch, row, mass_of, mean, times, found);
            at = branch;
        }
        return at;
    }

    void begin_learning(double weight);
    // Where the row is learned; new categories get a branch on the way. River looks for a split
    // only if tests alone have led there.
    int32_t reach_leaf(const Row &row, bool &by_tests);
    // Whether a leaf that has learned is to look for a split; at the depth limit it falls asleep.
    bool is_due(int32_t at);
    void deactivate(int32_t at);
    void keep_within_budget();
    // Put a split with its leaves where the leaf `at` is, or where the node `place` is that it is an
    // alternate of. Of a multiway split: the category of each leaf.
    void grow(int32_t at, int32_t place, const Suggestion &decision, Leaves leaves,
              const std::vector<int32_t> &categories);
    void enforce_size_limit(int32_t at);
    // Put a node where another is; returns where that one is now, cut off from the tree.
    int32_t displace(int32_t place, Node node);
    // Leaves as River walks them.
    void collect_leaves(int32_t at, std::vector<int32_t> &found) const;

    // Whether splits and classes alone fill the budget: what was given up has not made room.
    bool has_no_room() const { return bytes_patience_ > 0.0; }
    int32_t allocate();
    int32_t add_leaf(std::unique_ptr<LeafType> leaf);
    int32_t add_fresh_leaf(int32_t depth) {
        return add_leaf(std::make_unique<LeafType>(depth, rules()));
    }
    // A branch for a category that is new to a multiway split; kNone if there is no room.
    int32_t add_branch(int32_t at, const Row &row);
    void release(int32_t at);
    void settle(int32_t at) { bytes_ += static_cast<size_t>(leaf(at).settle()); }
    size_t measure_nodes() const;

    template <class Archive> void archive_root(Archive &a) {
        bool has_root = root_ >= 0;
        a(has_root);
        if (has_root) archive_node(a, root_, 0);
        if (!a.loading || a.failed()) return;
        for (Node &node : nodes_) {
            if (node.is_leaf()) node.leaf->settle();
        }
        bytes_ = measure_nodes();
    }

    ContextType *context_;
    Random *random_;
    // Whether nodes carry a Watch.
    bool is_watched_ = false;
    std::vector<Node> nodes_;
    std::vector<int32_t> free_;
    int32_t root_ = kNone;
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
    // The leaf that the last row was predicted by: what it said is not computed twice.
    int32_t seen_leaf_ = kNone;
    // By node. It follows from the leaves, so it is no part of the state nor of its budget.
    std::vector<Mass> masses_;

   private:
    // After the budget was reached, room is made down to this part of it, so that it isn't every
    // event that makes some.
    static constexpr double kLowWater = 0.8;

    // Summed in the order of leaves and branches, so what was summed before is what would be again.
    template <class MassOf> const Mass &mass_below(int32_t at, const MassOf &mass_of) {
        Mass &mass = masses_[static_cast<size_t>(at)];
        if (mass.is_known) return mass;
        if (node(at).is_leaf()) mass = mass_of(leaf(at));
        mass.is_known = true;
        for (const int32_t child : node(at).children) {
            const Mass &below = mass_below(child, mass_of);
            mass.total += below.total;
            mass.sum += below.sum;
        }
        return mass;
    }

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
            if (a.loading) node(at).leaf = std::make_unique<LeafType>(0, rules());
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

template <class LeafType, class ContextType>
int32_t TreeShape<LeafType, ContextType>::step(const Node &node, const Row &row) const {
    const double value = row[node.feature];
    if (std::isnan(value)) return kNone;
    switch (node.kind) {
        case SplitKind::kNumericBinary:
            return node.children[value <= node.value ? 0 : 1];
        case SplitKind::kNominalBinary:
            return node.children[value == node.value ? 0 : 1];
        case SplitKind::kNominalMultiway:
        case SplitKind::kNone:
            break;
    }
    const int32_t branch = node.categories->find(static_cast<int32_t>(value));
    return branch < 0 ? kNone : node.children[static_cast<size_t>(branch)];
}

template <class LeafType, class ContextType>
int32_t TreeShape<LeafType, ContextType>::most_common(const Node &node) const {
    int32_t best = node.children[0];
    double greatest = total_weight(best);
    for (size_t i = 1; i < node.children.size(); i++) {
        const double weight = total_weight(node.children[i]);
        if (weight > greatest) {
            greatest = weight;
            best = node.children[i];
        }
    }
    return best;
}

template <class LeafType, class ContextType>
int32_t TreeShape<LeafType, ContextType>::find_leaf(int32_t at, const Row &row,
                                                    bool &by_tests) const {
    by_tests = true;
    while (!node(at).is_leaf()) {
        const int32_t next = step(node(at), row);
        by_tests &= next >= 0;
        at = next >= 0 ? next : most_common(node(at));
    }
    return at;
}

template <class LeafType, class ContextType>
double TreeShape<LeafType, ContextType>::total_weight(int32_t at) const {
    if (node(at).is_leaf()) return node(at).leaf->total_weight();
    double total = 0.0;
    for (const int32_t child : node(at).children) total += total_weight(child);
    return total;
}

template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::begin_learning(double weight) {
    weight_seen_ += weight;
    if (root_ < 0) {
        root_ = add_fresh_leaf(0);
        n_active_ = 1;
    }
}

template <class LeafType, class ContextType>
int32_t TreeShape<LeafType, ContextType>::reach_leaf(const Row &row, bool &by_tests) {
    int32_t at = root_;
    by_tests = true;
    while (!node(at).is_leaf()) {
        forget_mass(at);
        int32_t next = step(node(at), row);
        if (next < 0) {
            by_tests = false;
            next = add_branch(at, row);
        }
        at = next >= 0 ? next : most_common(node(at));
    }
    return at;
}

template <class LeafType, class ContextType>
bool TreeShape<LeafType, ContextType>::is_due(int32_t at) {
    if (!growth_allowed_ || !leaf(at).is_active()) return false;
    if (leaf(at).depth >= rules().max_depth) {
        deactivate(at);
        return false;
    }
    return leaf(at).total_weight() - leaf(at).last_split_attempt_at >= rules().grace_period;
}

template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::deactivate(int32_t at) {
    leaf(at).deactivate();
    settle(at);
    n_active_--;
    n_inactive_++;
}

template <class LeafType, class ContextType>
int32_t TreeShape<LeafType, ContextType>::displace(int32_t place, Node other) {
    const int32_t at = allocate();
    node(at) = std::move(node(place));
    node(place) = std::move(other);
    return at;
}

template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::collect_leaves(int32_t at,
                                                      std::vector<int32_t> &found) const {
    if (node(at).is_leaf()) {
        found.push_back(at);
        return;
    }
    for (const int32_t child : node(at).children) {
        collect_leaves(child, found);
        const Watch *watch = node(child).watch.get();
        if (watch != nullptr && watch->alternate >= 0) collect_leaves(watch->alternate, found);
    }
}

template <class LeafType, class ContextType>
int32_t TreeShape<LeafType, ContextType>::allocate() {
    // What is remembered of a row is remembered by place, and places are used again.
    forget_row();
    if (free_.empty()) {
        nodes_.emplace_back();
        return static_cast<int32_t>(nodes_.size()) - 1;
    }
    const int32_t at = free_.back();
    free_.pop_back();
    forget_mass(at);
    return at;
}

template <class LeafType, class ContextType>
int32_t TreeShape<LeafType, ContextType>::add_leaf(std::unique_ptr<LeafType> added) {
    const int32_t at = allocate();
    node(at).depth = added->depth;
    node(at).leaf = std::move(added);
    if (is_watched_) node(at).watch = std::make_unique<Watch>(context_->adwin);
    bytes_ += node(at).bytes();
    settle(at);
    return at;
}

template <class LeafType, class ContextType>
int32_t TreeShape<LeafType, ContextType>::add_branch(int32_t at, const Row &row) {
    if (node(at).kind != SplitKind::kNominalMultiway || !row.has(node(at).feature)) return kNone;
    const auto category = static_cast<int32_t>(row[node(at).feature]);
    if (category < 0 || static_cast<double>(bytes_) > rules().max_bytes) return kNone;
    const int32_t added = add_fresh_leaf(node(at).depth + 1);
    bytes_ -= node(at).bytes();
    node(at).categories->add(category);
    node(at).children.push_back(added);
    bytes_ += node(at).bytes();
    n_active_++;
    return added;
}

// Free a node with all below it.
template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::release(int32_t at) {
    for (const int32_t child : node(at).children) release(child);
    if (node(at).watch != nullptr && node(at).watch->alternate >= 0) {
        release(node(at).watch->alternate);
    }
    bytes_ -= node(at).bytes();
    if (node(at).is_leaf()) bytes_ -= leaf(at).settled_bytes();
    node(at) = Node();
    free_.push_back(at);
}

template <class LeafType, class ContextType>
size_t TreeShape<LeafType, ContextType>::measure_nodes() const {
    size_t n = 0;
    std::vector<char> is_free(nodes_.size());
    for (const int32_t at : free_) is_free[static_cast<size_t>(at)] = 1;
    for (size_t at = 0; at < nodes_.size(); at++) {
        if (is_free[at] != 0) continue;
        n += nodes_[at].bytes();
        if (nodes_[at].is_leaf()) n += nodes_[at].leaf->bytes();
    }
    return n;
}

template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::grow(int32_t at, int32_t place, const Suggestion &decision,
                                            Leaves leaves, const std::vector<int32_t> &categories) {
    Node branch;
    branch.kind = decision.kind;
    branch.feature = decision.feature;
    branch.depth = leaf(at).depth;
    branch.value = decision.value;
    for (auto &added : leaves) branch.children.push_back(add_leaf(std::move(added)));
    branch.children.shrink_to_fit();
    if (decision.kind == SplitKind::kNominalMultiway) {
        branch.categories = std::make_unique<CategorySlots>();
        for (const int32_t category : categories) branch.categories->add(category);
    }
    if (is_watched_) branch.watch = std::make_unique<Watch>(context_->adwin);
    n_active_ += static_cast<int64_t>(leaves.size()) - 1;
    bytes_ += branch.bytes();
    if (place == at) {
        bytes_ -= node(at).bytes() + leaf(at).settled_bytes();
        node(at) = std::move(branch);
    } else {
        displaced_ = displace(place, std::move(branch));
        node(displaced_).watch->alternate = kNone;
        release(at);
    }
}

// River's memory management after a split. It wakes leaves that were given up, so in a tree within
// its budget a leaf whose best split is none starts afresh at once.
template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::enforce_size_limit(int32_t at) {
    const bool is_over = static_cast<double>(bytes_) > rules().max_bytes;
    if ((n_inactive_ > 0 || is_over) && rules().stop_mem_management) {
        growth_allowed_ = false;
    } else if (is_limited_) {
        wake_most_promising();
    } else if (is_watched_) {
        std::vector<int32_t> leaves;
        collect_leaves(root_, leaves);
        for (const int32_t found : leaves) wake(found);
    } else if (node(at).is_leaf()) {
        wake(at);
    }
}

template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::wake(int32_t at) {
    if (leaf(at).is_active() || leaf(at).depth >= rules().max_depth) return;
    leaf(at).activate();
    n_active_++;
    n_inactive_--;
}

// As far as there is room for leaves of the usual size.
template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::wake_most_promising() {
    std::vector<int32_t> leaves;
    collect_leaves(root_, leaves);
    std::vector<int32_t> asleep;
    size_t active_bytes = 0, n_active = 0;
    for (const int32_t at : leaves) {
        if (leaf(at).is_active()) {
            active_bytes += leaf(at).settled_bytes();
            n_active++;
        } else if (leaf(at).depth < rules().max_depth) {
            asleep.push_back(at);
        }
    }
    const double usual = static_cast<double>(active_bytes) /
                         static_cast<double>(std::max<size_t>(n_active, 1));
    std::stable_sort(asleep.begin(), asleep.end(), [&](int32_t a, int32_t b) {
        return leaf(a).promise() > leaf(b).promise();
    });
    double expected = static_cast<double>(bytes_);
    for (const int32_t at : asleep) {
        expected += usual;
        if (expected > kLowWater * rules().max_bytes) break;
        wake(at);
    }
}

// The budget holds: leaves that promise least forget what they know of features, as in River, which
// however looks only at every millionth unit of weight, and then by its estimates.
template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::keep_within_budget() {
    if (static_cast<double>(bytes_) <= std::max(rules().max_bytes, bytes_patience_)) return;
    is_limited_ = true;
    std::vector<int32_t> leaves;
    collect_leaves(root_, leaves);
    std::stable_sort(leaves.begin(), leaves.end(), [&](int32_t a, int32_t b) {
        return leaf(a).promise() < leaf(b).promise();
    });
    for (const int32_t at : leaves) {
        if (static_cast<double>(bytes_) <= kLowWater * rules().max_bytes) break;
        if (leaf(at).is_active()) deactivate(at);
    }
    if (static_cast<double>(bytes_) <= rules().max_bytes) return;
    constexpr double kPatience = 1.05;
    growth_allowed_ = false;
    bytes_patience_ = kPatience * static_cast<double>(bytes_);
}

template <class LeafType, class ContextType>
void TreeShape<LeafType, ContextType>::count(int32_t at, TreeCounts &counts,
                                             int64_t height) const {
    counts.n_nodes++;
    counts.height = std::max(counts.height, height);
    if (node(at).is_leaf()) {
        counts.n_leaves++;
    } else {
        counts.n_branches++;
    }
    for (const int32_t child : node(at).children) count(child, counts, height + 1);
}

}  // namespace driftline
