#include "adaptive_tree.hpp"

#include <cmath>
#include <numeric>

namespace driftline {

template <class Meet, class Take>
void AdaptiveTree::walk(const Row &row, Meet &&meet, Take &&take) const {
    int32_t at = root_;
    // River meets a node twice that it was sent to for want of a feature.
    int n_met = 1;
    while (!node(at).is_leaf()) {
        const int32_t alternate = node(at).watch->alternate;
        for (int i = 0; alternate >= 0 && i < n_met; i++) meet(alternate);
        const int32_t next = step(node(at), row);
        n_met = next >= 0 ? 1 : 2;
        const int32_t branch = next >= 0 ? next : most_common(node(at));
        take(at, branch);
        at = branch;
    }
    meet(at);
}

void AdaptiveTree::predict(const Row &row, std::vector<double> &proba) {
    for (const int32_t cls : classes_) proba[static_cast<size_t>(cls)] = 0.0;
    if (root_ < 0) return;
    const auto add = [&](int32_t at) {
        weigh(at, row, weighed_);
        const std::vector<Share> &shares = leaf(at).shares();
        for (size_t i = 0; i < weighed_.size(); i++) {
            proba[static_cast<size_t>(shares[i].cls)] += weighed_[i];
        }
    };
    walk(row, add, [](int32_t, int32_t) {});
    double total = 0.0;
    for (const int32_t cls : classes_) total += proba[static_cast<size_t>(cls)];
    if (total == 0.0 || std::isnan(total)) return;
    for (const int32_t cls : classes_) proba[static_cast<size_t>(cls)] *= 1 / total;
}

void AdaptiveTree::attribute(const Row &row, int32_t cls, double times, Attribution &found) {
    if (root_ < 0) return;
    const auto loudness = [&](int32_t at) {
        weigh(at, row, weighed_);
        return std::accumulate(weighed_.begin(), weighed_.end(), 0.0);
    };
    double total = 0.0;
    walk(row, [&](int32_t at) { total += loudness(at); }, [](int32_t, int32_t) {});
    if (!(total > 0.0)) return;
    const auto mass_of = share_of(cls);
    double share = mean_below(root_, mass_of, 0.0), left = times;
    found.base += times * share;
    found.votes += times;
    const auto meet = [&](int32_t at) {
        const double part = times * loudness(at) / total;
        credit_leaf(at, row, cls, part, found);
        left -= part;
    };
    walk(row, meet, [&](int32_t at, int32_t branch) {
        share = credit_split(at, branch, row, mass_of, share, left, found);
    });
}

void AdaptiveTree::learn(const Row &row, int32_t cls, double weight) {
    begin_learning(cls, weight);
    known_leaf_ = kNone;
    learn_node(root_, row, cls, weight, true);
    forget_row();
    keep_within_budget();
}

void AdaptiveTree::learn_node(int32_t at, const Row &row, int32_t cls, double weight,
                              bool is_root) {
    forget_mass(at);
    if (node(at).is_leaf()) {
        learn_adaptive_leaf(at, at, row, cls, weight);
    } else {
        learn_split(at, row, cls, weight, is_root);
    }
}

void AdaptiveTree::learn_split(int32_t at, const Row &row, int32_t cls, double weight,
                               bool is_root) {
    const bool is_wrong = predicted_class(find_leaf(at, row), row) != cls;
    int32_t self = at;
    if (observe_error(*node(at).watch, is_wrong)) {
        node(at).watch->reset_error();
        start_alternate(at);
    } else if (node(at).watch->alternate >= 0) {
        self = judge_alternate(at);
    }
    if (self != at && is_root) {
        // River's root still has what replaced it for an alternate, and has it learn.
        learn_node(at, row, cls, weight, true);
    } else if (self == at && node(at).watch->alternate >= 0 &&
               learn_adaptive_leaf(node(at).watch->alternate, at, row, cls, weight)) {
        self = displaced_;
    }
    learn_child(self, row, cls, weight);
    if (self != at) release(self);
}

void AdaptiveTree::learn_child(int32_t at, const Row &row, int32_t cls, double weight) {
    int32_t child = step(node(at), row);
    if (child < 0) child = add_branch(at, row);
    if (child < 0) child = most_common(node(at));
    learn_node(child, row, cls, weight, false);
}

bool AdaptiveTree::learn_adaptive_leaf(int32_t at, int32_t place, const Row &row, int32_t cls,
                                       double weight) {
    if (adaptive_->bootstrap_sampling) {
        const int k = random_->poisson(1.0);
        if (k > 0) weight *= k;
    }
    const bool is_wrong = predicted_class(at, row) != cls;
    observe_error(*node(at).watch, is_wrong);
    learn_leaf(at, row, cls, weight);
    forget_row();
    known_leaf_ = kNone;
    const double weight_seen = leaf(at).total_weight();
    if (weight_seen - leaf(at).last_split_attempt_at < rules().grace_period) return false;
    if (leaf(at).depth >= rules().max_depth) {
        deactivate(at);
        return false;
    }
    if (!leaf(at).is_active() || has_no_room()) return false;
    displaced_ = kNone;
    attempt_to_split(at, place);
    if (displaced_ >= 0) return true;
    if (node(at).is_leaf()) leaf(at).last_split_attempt_at = weight_seen;
    return false;
}

// True if the error has risen.
bool AdaptiveTree::observe_error(Watch &watch, bool is_wrong) {
    const double old_error = watch.mean_error;
    bytes_ -= watch.adwin.bytes();
    const bool has_changed = watch.adwin.update(is_wrong ? 1.0 : 0.0);
    bytes_ += watch.adwin.bytes();
    watch.learn(is_wrong ? 1.0 : 0.0);
    if (!has_changed) return false;
    if (old_error > watch.mean_error) {
        watch.reset_error();
        return false;
    }
    return true;
}

void AdaptiveTree::start_alternate(int32_t at) {
    drop_alternate(at);
    const int32_t alternate = add_fresh_leaf(node(at).depth);
    node(at).watch->alternate = alternate;
    n_alternates_++;
}

int32_t AdaptiveTree::judge_alternate(int32_t at) {
    const Watch &watch = *node(at).watch;
    const Watch &other = *node(watch.alternate).watch;
    if (other.n_errors <= adaptive_->drift_window_threshold ||
        watch.n_errors <= adaptive_->drift_window_threshold) {
        return at;
    }
    const double n = 1.0 / other.n_errors + 1.0 / watch.n_errors;
    const double bound = std::sqrt(2.0 * watch.mean_error * (1.0 - watch.mean_error) *
                                   std::log(2.0 / adaptive_->switch_significance) * n);
    if (bound < watch.mean_error - other.mean_error) {
        const int32_t alternate = watch.alternate;
        n_active_ += 1 - count_leaves(at);
        forget_children(at);
        node(at).watch->alternate = kNone;
        const int32_t self = displace(at, std::move(node(alternate)));
        node(alternate) = Node();
        free_.push_back(alternate);
        n_switched_++;
        return self;
    }
    if (bound < other.mean_error - watch.mean_error) {
        drop_alternate(at);
        n_pruned_++;
    }
    return at;
}

void AdaptiveTree::drop_alternate(int32_t at) {
    const int32_t alternate = node(at).watch->alternate;
    if (alternate < 0) return;
    node(at).watch->alternate = kNone;
    release(alternate);
}

// River's `kill_tree_children`.
void AdaptiveTree::forget_children(int32_t at) {
    for (const int32_t child : node(at).children) {
        if (!node(child).is_leaf()) {
            if (node(child).watch->alternate >= 0) {
                drop_alternate(child);
                n_pruned_++;
            }
            forget_children(child);
        } else if (leaf(child).is_active()) {
            n_active_--;
        } else {
            n_inactive_--;
        }
    }
}

int64_t AdaptiveTree::count_leaves(int32_t at) const {
    if (node(at).is_leaf()) return 1;
    int64_t n = 0;
    for (const int32_t child : node(at).children) n += count_leaves(child);
    return n;
}

// A leaf's votes, the louder the smaller its error.
void AdaptiveTree::weigh(int32_t at, const Row &row, std::vector<double> &votes) {
    votes = vote(at, row);
    double total = 0.0;
    for (const double vote : votes) total += vote;
    const double error = node(at).watch->mean_error;
    const double factor = total * error * error;
    if (factor == 0.0 || std::isnan(factor)) return;
    for (double &vote : votes) vote *= 1 / factor;
}

int32_t AdaptiveTree::predicted_class(int32_t at, const Row &row) {
    if (known_leaf_ == at) return known_class_;
    weigh(at, row, weighed_);
    const int32_t best = Leaf::first_greatest(weighed_);
    known_leaf_ = at;
    known_class_ = best < 0 ? kNone : leaf(at).shares()[static_cast<size_t>(best)].cls;
    return known_class_;
}

}  // namespace driftline
