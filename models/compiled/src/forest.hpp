// River's ARFClassifier.
#pragma once

#include "forest_shape.hpp"
#include "tree.hpp"

namespace driftline {

// A tree's accuracy, which is the weight of its vote.
struct Accuracy {
    double n_right = 0.0;
    double n_seen = 0.0;

    // Of its vote, where that has one: its accuracy, if that is not nil.
    double weight(const ForestRules &rules) const {
        const double accuracy = n_seen > 0.0 ? n_right / n_seen : 0.0;
        return !rules.disable_weighted_vote && accuracy > 0.0 ? accuracy : 1.0;
    }
    void learn(bool is_wrong) {
        n_seen += 1.0;
        n_right += is_wrong ? 0.0 : 1.0;
    }
    void forget() { n_right = n_seen = 0.0; }

    template <class Archive> void archive(Archive &a) { a(n_right, n_seen); }
};

class Forest : public ForestShape<Tree, TreeContext, Accuracy> {
   public:
    using ForestShape::ForestShape;

    // Fill `proba`, by class id, for the classes listed in `order`, which is River's order.
    void predict(const Row &row, std::vector<double> &proba, std::vector<int32_t> &order);
    // Why it says what it says of the row that it was last asked about: the mean of its trees.
    void attribute(const Row &row, int32_t cls, Attribution &found);
    void learn(const Row &row, int32_t cls);

   private:
    std::vector<double> proba_;
};

}  // namespace driftline
