// River's ARFRegressor.
#pragma once

#include "forest_shape.hpp"
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

// A tree's mean squared error, which is what its word is weighed by.
struct SquaredErrors {
    double mean = 0.0;
    double n_seen = 0.0;
    // Of the errors: detectors are told where one lies among those. It outlives the tree.
    Variance variance;

    void learn(double error) {
        n_seen += 1.0;
        mean += (1.0 / n_seen) * (python_square(error) - mean);
    }
    void forget() { mean = n_seen = 0.0; }
    // What River has ADWIN watch: the error between -3 and 3 deviations, as 0 to 1.
    double normalise(double error);

    template <class Archive> void archive(Archive &a) { a(mean, n_seen, variance); }
};

class RegressionForest : public ForestShape<RegressionTree, RegressionContext, SquaredErrors> {
   public:
    RegressionForest(RegressionContext &context, const RegressionForestRules &rules)
        : ForestShape(context, rules.forest), own_(&rules) {}

    double predict(const Row &row);
    // Add why it predicts what it does: a median is what the trees in the middle say.
    void attribute(const Row &row, Attribution &found);
    void learn(const Row &row, double target);

   private:
    void ask(const Row &row);
    bool weigh();
    double median();
    void share_middle();

    const RegressionForestRules *own_;
    std::vector<double> said_;
    // What each counts for.
    std::vector<double> weights_;
    std::vector<size_t> order_;
};

}  // namespace driftline
