// River's HoeffdingTreeRegressor, and the random tree of its forest.
#pragma once

#include "regression_leaf.hpp"
#include "tree_shape.hpp"

namespace driftline {

class RegressionTree : public TreeShape<RegressionLeaf, RegressionContext> {
   public:
    using TreeShape::total_weight;
    using TreeShape::TreeShape;

    double predict(const Row &row);
    // Add why the mean of the leaf that a row comes to is what it is, `times` over: each split is
    // credited with the change from the mean target of all that the leaves below it have seen to
    // that of the branch that is taken.
    void attribute(const Row &row, double times, Attribution &found);
    void learn(const Row &row, double target, double weight);

    size_t bytes() const { return bytes_ + bytes_of(masses_) + sizeof *this; }
    // The same, counted again.
    size_t measure() const { return measure_nodes() + bytes_of(masses_) + sizeof *this; }

    template <class Archive> void archive(Archive &a) {
        a(weight_seen_, n_active_, n_inactive_, growth_allowed_, is_limited_, bytes_patience_);
        archive_root(a);
    }

   private:
    void attempt_to_split(int32_t at);
    void split(int32_t at, const RegressionSuggestion &decision);
    void disable_poor(int32_t at, const std::vector<RegressionSuggestion> &found, double greatest,
                      double ratio_min);

    double prediction_ = 0.0;
};

}  // namespace driftline
