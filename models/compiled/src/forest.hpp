// River's ARFClassifier: bagged random trees, each replaced when its error drifts.
#pragma once

#include <optional>

#include "adwin.hpp"
#include "tree.hpp"

namespace driftline {

struct ForestRules {
    enum class Features : uint8_t { kAll, kSqrt, kLog2, kNumber, kShare };

    int32_t n_models = 10;
    Features features = Features::kSqrt;
    // How many, or which share of them, a leaf watches.
    double n_features = 0.0;
    double lambda = 6.0;
    bool disable_weighted_vote = false;
    bool has_warnings = true;
    bool has_drifts = true;
    AdwinRules warning;
    AdwinRules drift;

    // River's `_set_max_features`, for a first event with so many.
    int32_t max_features(int32_t n) const;

    template <class Archive> void archive(Archive &a) {
        a(n_models, features, n_features, lambda, disable_weighted_vote, has_warnings, has_drifts,
          warning, drift);
        a.check(n_models > 0 && n_models < 100000 && features <= Features::kShare);
    }
};

class Forest {
   public:
    Forest(TreeContext &context, const ForestRules &rules) : context_(&context), rules_(&rules) {}

    bool is_planted() const { return !members_.empty(); }

    // The next row is another one than the last.
    void forget_row();
    // Fill `proba`, by class id, for the classes listed in `order`, which is River's order.
    void predict(const Row &row, std::vector<double> &proba, std::vector<int32_t> &order);
    // Why it says what it says of the row that it was last asked about: the mean of its trees.
    void attribute(const Row &row, int32_t cls, Attribution &found);
    void learn(const Row &row, int32_t cls);

    // Over all trees, or of one.
    int64_t n_warnings(int32_t tree = -1) const;
    int64_t n_drifts(int32_t tree = -1) const;
    const Tree &tree(size_t i) const { return members_[i].tree; }
    size_t size() const { return members_.size(); }
    size_t bytes() const;
    size_t measure() const;

    template <class Archive> void archive(Archive &a) {
        bool planted = is_planted();
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
            a(member.n_right, member.n_seen, member.n_warnings, member.n_drifts);
        }
    }

   private:
    struct Member {
        Member(TreeContext &context, const ForestRules &rules)
            : tree(context), warning(rules.warning), drift(rules.drift) {}

        Tree tree;
        std::optional<Tree> background;
        // The weight of its vote: its accuracy, where that is wanted and not nil.
        double weight(const ForestRules &rules) const {
            const double accuracy = n_seen > 0.0 ? n_right / n_seen : 0.0;
            return !rules.disable_weighted_vote && accuracy > 0.0 ? accuracy : 1.0;
        }

        Adwin warning;
        Adwin drift;
        double n_right = 0.0;
        double n_seen = 0.0;
        int64_t n_warnings = 0;
        int64_t n_drifts = 0;
    };

    void plant();
    void watch(Member &member, double error);

    TreeContext *context_;
    const ForestRules *rules_;
    std::vector<Member> members_;
    std::vector<double> proba_;
};

}  // namespace driftline
