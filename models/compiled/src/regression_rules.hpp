// River's parameters of a regression tree, and the split that an observer suggests in one.
#pragma once

#include <cstdint>
#include <vector>

#include "linear.hpp"
#include "suggestion.hpp"
#include "tree_shape.hpp"
#include "variance.hpp"

namespace driftline {

enum class RegressionPrediction : uint8_t { kMean, kModel, kAdaptive };

struct RegressionRules {
    // Beyond it, a power of ten is no float.
    static constexpr int32_t kDigitsMax = 22;

    double grace_period = 200.0;
    int32_t max_depth = 980;
    double delta = 1e-7;
    double tau = 0.05;
    RegressionPrediction leaf_prediction = RegressionPrediction::kAdaptive;
    double decay = 0.95;
    LinearRules linear;
    // What values are rounded to before they are watched; -1: to nothing.
    int32_t digits = 1;
    double min_samples = 5.0;
    bool binary_split = false;
    double max_bytes = 500.0 * 1048576.0;
    bool stop_mem_management = false;
    bool remove_poor_attrs = false;
    bool merit_preprune = true;
    // Features that a leaf watches, drawn at random when it first learns; -1: all. A forest decides
    // it by its first event.
    int32_t max_features = -1;

    bool has_models() const { return leaf_prediction != RegressionPrediction::kMean; }

    template <class Archive> void archive(Archive &a) {
        a(grace_period, max_depth, delta, tau, leaf_prediction, decay, linear, digits, min_samples,
          binary_split, max_bytes, stop_mem_management, remove_poor_attrs, merit_preprune);
        a.check(leaf_prediction <= RegressionPrediction::kAdaptive && digits >= -1 &&
                digits <= kDigitsMax);
    }
};

using RegressionContext = Context<RegressionRules>;

// With what a split leaves in its branches.
struct RegressionSuggestion : Suggestion {
    std::vector<Variance> after;
    // Of a multiway split: the category of each branch.
    std::vector<int32_t> categories;

    // Take over what is better.
    void offer(double found, SplitKind as, double at, const Variance &left, const Variance &right) {
        if (!(found > merit)) return;
        merit = found;
        kind = as;
        value = at;
        after = {left, right};
        categories.clear();
    }
};

// River's VarianceReduction: how much less targets vary after a split.
class VarianceReduction {
   public:
    VarianceReduction(const Variance &before, double min_samples)
        : before_(before), variance_(before.get()), min_samples_(min_samples) {}

    const Variance &before() const { return before_; }

    double of(const Variance &left, const Variance &right) const {
        if (!(left.n >= min_samples_ && right.n >= min_samples_)) return 0.0;
        double merit = variance_;
        merit -= left.n / before_.n * left.get();
        merit -= right.n / before_.n * right.get();
        return merit;
    }

    double of(const std::vector<Variance> &after) const {
        double merit = variance_;
        for (const Variance &branch : after) {
            if (!(branch.n >= min_samples_)) return 0.0;
            merit -= branch.n / before_.n * branch.get();
        }
        return merit;
    }

   private:
    Variance before_;
    double variance_;
    double min_samples_;
};

}  // namespace driftline
