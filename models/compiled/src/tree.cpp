#include "tree.hpp"

#include <algorithm>
#include <cmath>

#include "memory.hpp"

namespace driftline {

namespace {

// After the budget was reached, room is made down to this part of it, so that it isn't every event
// that makes some.
constexpr double kLowWater = 0.8;

}  // namespace

size_t Node::bytes() const {
    size_t n = sizeof *this + bytes_of(children);
    if (categories != nullptr) n += sizeof *categories + categories->bytes();
    if (watch != nullptr) n += sizeof *watch + watch->adwin.bytes();
    return n;
}

void Tree::predict(const Row &row, std::vector<double> &proba) {
    for (const int32_t cls : classes_) proba[static_cast<size_t>(cls)] = 0.0;
    if (root_ < 0) return;
    const int32_t at = seen_leaf_ >= 0 ? seen_leaf_ : find_leaf(root_, row);
    vote(at, row, votes_);
    const std::vector<Share> &shares = leaf(at).shares();
    for (size_t i = 0; i < votes_.size(); i++) {
        proba[static_cast<size_t>(shares[i].cls)] = votes_[i];
    }
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

void Tree::trace(const Row &row) {
    if (root_ < 0) return;
    const int32_t at = seen_leaf_ >= 0 ? seen_leaf_ : find_leaf(root_, row);
    if (!votes_by_bayes(leaf(at))) return;
    leaf(at).touch(row);
    settle(at);
}

void Tree::learn(const Row &row, int32_t cls, double weight) {
    begin_learning(cls, weight);
    int32_t at = root_;
    while (!node(at).is_leaf()) {
        const int32_t next = step(node(at), row);
        if (next < 0) break;
        at = next;
    }
    if (node(at).is_leaf()) {
        learn_leaf(at, row, cls, weight);
        if (growth_allowed_ && leaf(at).is_active()) {
            const double weight_seen = leaf(at).total_weight();
            if (leaf(at).depth >= rules().max_depth) {
                deactivate(at);
            } else if (weight_seen - leaf(at).last_split_attempt_at >= rules().grace_period) {
                attempt_to_split(at, at);
                if (node(at).is_leaf()) leaf(at).last_split_attempt_at = weight_seen;
            }
        }
    } else {
        while (!node(at).is_leaf()) {
            const int32_t next = step(node(at), row);
            if (next >= 0) {
                at = next;
                continue;
            }
            const int32_t added = add_branch(at, row);
            at = added >= 0 ? added : most_common(node(at));
        }
        learn_leaf(at, row, cls, weight);
    }
    forget_row();
    keep_within_budget();
}

TreeCounts Tree::counts() const {
    TreeCounts found;
    if (root_ >= 0) count(root_, found, 1);
    return found;
}

size_t Tree::measure() const {
    size_t n = sizeof *this;
    std::vector<char> is_free(nodes_.size());
    for (const int32_t at : free_) is_free[static_cast<size_t>(at)] = 1;
    for (size_t at = 0; at < nodes_.size(); at++) {
        if (is_free[at] != 0) continue;
        n += nodes_[at].bytes();
        if (nodes_[at].is_leaf()) n += nodes_[at].leaf->bytes();
    }
    return n;
}

int32_t Tree::step(const Node &node, const Row &row) const {
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

int32_t Tree::most_common(const Node &node) const {
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

int32_t Tree::find_leaf(int32_t at, const Row &row) const {
    while (!node(at).is_leaf()) {
        const int32_t next = step(node(at), row);
        at = next >= 0 ? next : most_common(node(at));
    }
    return at;
}

double Tree::total_weight(int32_t at) const {
    if (node(at).is_leaf()) return node(at).leaf->total_weight();
    double total = 0.0;
    for (const int32_t child : node(at).children) total += total_weight(child);
    return total;
}

void Tree::vote(int32_t at, const Row &row, std::vector<double> &votes) {
    if (!votes_by_bayes(leaf(at))) {
        leaf(at).majority(votes);
    } else if (bayes(at, row)) {
        votes = bayes_votes_;
    } else {
        votes.clear();
    }
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
        has_bayes_ = false;
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
    weight_seen_ += weight;
    if (root_ < 0) {
        root_ = add_leaf({}, 0);
        n_active_ = 1;
    }
}

void Tree::learn_leaf(int32_t at, const Row &row, int32_t cls, double weight) {
    Leaf &here = leaf(at);
    const bool is_adaptive = rules().leaf_prediction == LeafPrediction::kNaiveBayesAdaptive;
    if (here.is_active() && is_adaptive) {
        const auto is_right = [&](const std::vector<double> &votes) {
            const int32_t best = Leaf::first_greatest(votes);
            return best >= 0 && here.shares()[static_cast<size_t>(best)].cls == cls;
        };
        here.majority(votes_);
        if (votes_.empty() || is_right(votes_)) here.mc_correct_weight += weight;
        if (bayes(at, row) && is_right(bayes_votes_)) here.nb_correct_weight += weight;
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

void Tree::deactivate(int32_t at) {
    leaf(at).deactivate();
    settle(at);
    n_active_--;
    n_inactive_++;
}

bool Tree::attempt_to_split(int32_t at, int32_t place) {
    Leaf &here = leaf(at);
    if (here.is_pure()) return false;
    const Merit merit(rules(), context_->schema, here.shares());
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

int32_t Tree::displace(int32_t place, Node other) {
    const int32_t at = allocate();
    node(at) = std::move(node(place));
    node(place) = std::move(other);
    return at;
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

void Tree::collect_leaves(int32_t at, std::vector<int32_t> &found) const {
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

int32_t Tree::allocate() {
    // What is remembered of a row is remembered by place, and places are used again.
    forget_row();
    if (free_.empty()) {
        nodes_.emplace_back();
        return static_cast<int32_t>(nodes_.size()) - 1;
    }
    const int32_t at = free_.back();
    free_.pop_back();
    return at;
}

int32_t Tree::add_leaf(std::vector<Share> shares, int32_t depth) {
    const int32_t at = allocate();
    node(at).depth = depth;
    node(at).leaf = std::make_unique<Leaf>(std::move(shares), depth);
    if (is_watched_) node(at).watch = std::make_unique<Watch>(context_->adwin);
    bytes_ += node(at).bytes();
    settle(at);
    return at;
}

int32_t Tree::add_branch(int32_t at, const Row &row) {
    if (node(at).kind != SplitKind::kNominalMultiway || !row.has(node(at).feature)) return kNone;
    const auto category = static_cast<int32_t>(row[node(at).feature]);
    if (category < 0 || static_cast<double>(bytes_) > rules().max_bytes) return kNone;
    const int32_t added = add_leaf({}, node(at).depth + 1);
    bytes_ -= node(at).bytes();
    node(at).categories->add(category);
    node(at).children.push_back(added);
    bytes_ += node(at).bytes();
    n_active_++;
    return added;
}

// Free a node with all below it.
void Tree::release(int32_t at) {
    for (const int32_t child : node(at).children) release(child);
    if (node(at).watch != nullptr && node(at).watch->alternate >= 0) {
        release(node(at).watch->alternate);
    }
    bytes_ -= node(at).bytes();
    if (node(at).is_leaf()) bytes_ -= leaf(at).settled_bytes();
    node(at) = Node();
    free_.push_back(at);
}

void Tree::settle(int32_t at) { bytes_ += static_cast<size_t>(leaf(at).settle()); }

void Tree::split(int32_t at, int32_t place, const Suggestion &decision) {
    Children children = children_of(leaf(at), decision, context_->schema);
    const int32_t depth = node(at).leaf->depth;
    std::vector<int32_t> added;
    for (std::vector<Share> &shares : children.shares) {
        added.push_back(add_leaf(std::move(shares), depth + 1));
    }
    Node branch;
    branch.kind = decision.kind;
    branch.feature = decision.feature;
    branch.depth = depth;
    branch.value = decision.value;
    branch.children = std::move(added);
    branch.children.shrink_to_fit();
    if (decision.kind == SplitKind::kNominalMultiway) {
        branch.categories = std::make_unique<CategorySlots>();
        for (const int32_t category : children.categories) branch.categories->add(category);
    }
    if (is_watched_) branch.watch = std::make_unique<Watch>(context_->adwin);
    n_active_ += static_cast<int64_t>(children.shares.size()) - 1;
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
void Tree::enforce_size_limit(int32_t at) {
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

void Tree::wake(int32_t at) {
    if (leaf(at).is_active() || leaf(at).depth >= rules().max_depth) return;
    leaf(at).activate();
    n_active_++;
    n_inactive_--;
}

// As far as there is room for leaves of the usual size.
void Tree::wake_most_promising() {
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
void Tree::keep_within_budget() {
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

void Tree::count(int32_t at, TreeCounts &counts, int64_t height) const {
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
