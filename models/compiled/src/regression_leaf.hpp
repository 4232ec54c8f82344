// A leaf of a regression tree: what it has seen of the target and of each feature.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "categories.hpp"
#include "random.hpp"
#include "value_tree.hpp"

namespace driftline {

// What a leaf has seen of a nominal feature: the targets of each category.
class CategoryTargets {
   public:
    // True if the category is new.
    bool update(int32_t category, double target, double weight);
    void suggest(const VarianceReduction &reduction, const Feature &feature, bool binary_split,
                 RegressionSuggestion &best) const;
    size_t bytes() const { return categories_.bytes() + bytes_of(targets_); }

    template <class Archive> void archive(Archive &a, size_t n_categories) {
        a(categories_);
        for (const int32_t code : categories_.codes()) a.check_index(code, n_categories);
        if (a.failed()) return;
        targets_.resize(categories_.size());
        for (Variance &target : targets_) a(target);
    }

   private:
    CategorySlots categories_;
    // By slot.
    std::vector<Variance> targets_;
};

class RegressionLeaf {
   public:
    // One that has seen nothing.
    RegressionLeaf(int32_t depth, const RegressionRules &rules)
        : depth(depth), model_(rules.linear) {}
    // A branch of a leaf that was split goes on with its model.
    RegressionLeaf(const RegressionLeaf &parent, const Variance &target);

    double total_weight() const { return target_.n; }
    Mass mass() const { return {target_.n * target_.mean, target_.n}; }
    double predict(const Row &row, const RegressionRules &rules) const;
    void learn(const Row &row, double target, double weight, const RegressionRules &rules,
               const Schema &schema, Random &random);

    // One for each observer, after the null split where the rules allow that.
    std::vector<RegressionSuggestion> suggest_splits(const VarianceReduction &reduction,
                                                     const RegressionRules &rules,
                                                     const Schema &schema) const;
    VarianceReduction reduction(const RegressionRules &rules) const {
        return {target_, rules.min_samples};
    }
    void prune(const VarianceReduction &reduction, double best_merit, double ratio_min);

    // How much is gained by keeping it active: the deeper, the less, as in River.
    double promise() const { return -static_cast<double>(depth); }
    bool is_active() const { return active_; }
    void activate() { active_ = true; }
    // Forgets all but the target and its model.
    void deactivate();
    void disable(int32_t feature);

    size_t bytes() const;
    // How many bytes it has grown by since it was last asked.
    ptrdiff_t settle();
    size_t settled_bytes() const { return settled_bytes_; }

    int32_t depth;
    double last_split_attempt_at = 0.0;

    template <class Archive> void archive(Archive &a) {
        a(target_, depth, last_split_attempt_at, active_, mean_error_, model_error_, model_,
          disabled_, sampled_);
        size_t n = observers_.size();
        a.count(n);
        a.check(n <= a.schema->features.size());
        if (a.failed()) return;
        if (a.loading) observers_.resize(n);
        for (const int32_t feature : disabled_) a.check_feature(feature);
        for (const int32_t feature : sampled_) a.check_feature(feature);
        for (Observer &observer : observers_) {
            a(observer.feature);
            a.check_feature(observer.feature);
            if (a.failed()) return;
            const Feature &feature = a.schema->features[static_cast<size_t>(observer.feature)];
            if (feature.is_nominal()) {
                if (a.loading) observer.seen = CategoryTargets();
                std::get<CategoryTargets>(observer.seen).archive(a, feature.categories.size());
            } else {
                std::get<ValueTree>(observer.seen).archive(a);
            }
        }
    }

   private:
    struct Observer {
        int32_t feature = -1;
        std::variant<ValueTree, CategoryTargets> seen;
    };

    void observe(const Row &row, double target, double weight, const RegressionRules &rules,
                 const Schema &schema, Random &random);
    size_t observer_of(int32_t feature, size_t guess) const;

    Variance target_;
    // Of predicting the mean, and what the model says; faded.
    double mean_error_ = 0.0;
    double model_error_ = 0.0;
    Linear model_;
    bool active_ = true;
    bool has_grown_ = true;
    size_t settled_bytes_ = 0;
    // In order of their first value.
    std::vector<Observer> observers_;
    std::vector<int32_t> disabled_;
    std::vector<int32_t> sampled_;
};

}  // namespace driftline
