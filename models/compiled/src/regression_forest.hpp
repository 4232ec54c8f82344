// River's ARFRegressor: bagged random trees, each replaced when its error drifts.
#pragma once

#include <optional>

#include "adwin.hpp"
#include "forest.hpp"
#include "regression_tree.hpp"

namespace driftline {

struct RegressionForestRules {
    // Those of the classifier; `disable_weighted_vote` says whether to weigh means by errors.
    ForestRules forest;
    bool takes_median = true;
    // As Python gave it: River's forest keeps it to itself, and its trees have their default.
    double min_samples = 5.0;

    template <class Archive> void archive(Archive &a) { a(forest, takes_median, min_samples); }
};

class RegressionForest {
   public:
    RegressionForest(RegressionContext &context, const RegressionForestRules &rules)
        : context_(&context), rules_(&rules) {}

    // The next row is another one than the last.
    void forget_row();
    double predict(const Row &row);
    void learn(const Row &row, double target);

    int64_t n_warnings(size_t tree) const { return members_[tree].n_warnings; }
    int64_t n_drifts(size_t tree) const { return members_[tree].n_drifts; }
    size_t size() const { return members_.size(); }
    const RegressionTree &tree(size_t i) const { return members_[i].tree; }
    size_t bytes() const;
    // The same, counted again.
    size_t measure() const;

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
            a(member.squared_error, member.n_seen, member.error, member.n_warnings,
              member.n_drifts);
        }
    }

   private:
    struct Member {
        Member(RegressionContext &context, const ForestRules &rules)
            : tree(context), warning(rules.warning), drift(rules.drift) {}

        RegressionTree tree;
        std::optional<RegressionTree> background;
        Adwin warning;
        Adwin drift;
        // Its mean squared error, which is what its word is weighed by.
        double squared_error = 0.0;
        double n_seen = 0.0;
        // What its errors were: detectors are told where an error lies among those.
        Variance error;
        int64_t n_warnings = 0;
        int64_t n_drifts = 0;
    };

    void plant();
    void weigh();
    double median();
    // What River has ADWIN watch: the error between -3 and 3 deviations, as 0 to 1.
    static double normalise(Member &member, double error);
    void watch(Member &member, double error);

    RegressionContext *context_;
    const RegressionForestRules *rules_;
    std::vector<Member> members_;
    std::vector<double> said_;
    std::vector<double> weights_;
};

}  // namespace driftline
