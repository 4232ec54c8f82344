// What both of River's adaptive random forests are: bagged random trees, each replaced when its error
// drifts.
#pragma once

#include <optional>
#include <vector>

#include "adwin.hpp"
#include "forest_rules.hpp"
#include "tree_shape.hpp"

namespace driftline {

// A record is what a forest keeps of the errors of a tree; `forget` is for a tree in place of it.
template <class TreeType, class ContextType, class Record> class ForestShape {
   public:
    ForestShape(ContextType &context, const ForestRules &rules)
        : context_(&context), rules_(&rules) {}

    // The next row is another one than the last.
    void forget_row() {
        for (Member &member : members_) member.tree.forget_row();
    }

    // Of each tree, how often its error rose so far as to warn, and as to be replaced.
    std::vector<int64_t> statistics() const {
        std::vector<int64_t> found;
        for (const Member &member : members_) {
            found.push_back(member.n_warnings);
            found.push_back(member.n_drifts);
        }
        return found;
    }
    const TreeType *tree(size_t i) const { return &members_[i].tree; }
    size_t size() const { return members_.size(); }
    size_t bytes() const {
        return add_up([](const TreeType &tree) { return tree.bytes(); });
    }
    // The same, counted again.
    size_t measure() const {
        return add_up([](const TreeType &tree) { return tree.measure(); });
    }

    template <class Archive> void archive(Archive &a) {
        bool planted = !members_.empty();
        a(planted);
        if (!planted) return;
        a(context_->rules.max_features);
        if (a.loading && !a.failed()) plant();
        for (Member &member : members_) {
            member.tree.archive(a);
            bool has_background = member.background.has_value();
            a(has_background);
            if (has_background) {
                if (a.loading) member.background.emplace(*context_);
                member.background->archive(a);
            }
            member.warning.archive(a);
            member.drift.archive(a);
            a(member.record, member.n_warnings, member.n_drifts);
        }
    }

   protected:
    struct Member {
        Member(ContextType &context, const ForestRules &rules)
            : tree(context), warning(rules.warning), drift(rules.drift) {}

        TreeType tree;
        std::optional<TreeType> background;
        Adwin warning;
        Adwin drift;
        Record record;
        int64_t n_warnings = 0;
        int64_t n_drifts = 0;
    };

    // By its first event a forest decides how many features its trees draw from.
    void begin_learning(const Row &row) {
        if (!members_.empty()) return;
        context_->rules.max_features = rules_->max_features(row.size);
        plant();
    }

    // False if it was drawn that the tree is not to learn the row.
    template <class Truth> bool learn_drawn(Member &member, const Row &row, Truth truth) {
        const int k = context_->random.poisson(rules_->lambda);
        if (k == 0) return false;
        if (member.background.has_value()) {
            member.background->forget_row();
            member.background->learn(row, truth, k);
        }
        member.tree.learn(row, truth, k);
        return true;
    }

    // A warning plants a tree in the background; a drift puts it, or else a new one, in place.
    void watch(Member &member, double error) {
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
            member.tree = TreeType(*context_);
        }
        member.drift = Adwin(rules_->drift);
        member.record.forget();
        member.n_drifts++;
    }

    ContextType *context_;
    const ForestRules *rules_;
    std::vector<Member> members_;

   private:
    void plant() {
        members_.reserve(static_cast<size_t>(rules_->n_models));
        for (int32_t i = 0; i < rules_->n_models; i++) members_.emplace_back(*context_, *rules_);
    }

    template <class Bytes> size_t add_up(Bytes &&bytes_of_tree) const {
        size_t n = 0;
        for (const Member &member : members_) {
            n += sizeof member + bytes_of_tree(member.tree) + member.warning.bytes() +
                 member.drift.bytes();
            if (member.background.has_value()) n += bytes_of_tree(*member.background);
        }
        return n;
    }
};

}  // namespace driftline
