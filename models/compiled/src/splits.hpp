// The search for the best split of a leaf.
#pragma once

#include <cstdint>
#include <vector>

#include "leaf.hpp"
#include "suggestion.hpp"

namespace driftline {

// What a split leaves in each of its branches.
struct Children {
    std::vector<std::vector<Share>> shares;
    // Of a multiway split: the category of each branch.
    std::vector<int32_t> categories;
};

// How much a split tells about the class.
class Merit {
   public:
    Merit(const TreeRules &rules, const Schema &schema, const std::vector<Share> &before);

    double of(const std::vector<std::vector<Share>> &after);
    double range() const;

   private:
    double info_gain(const std::vector<std::vector<Share>> &after, double total) const;
    double gini(const std::vector<std::vector<Share>> &after, double total) const;
    double hellinger(const std::vector<std::vector<Share>> &after) const;

    const TreeRules &rules_;
    const Schema &schema_;
    size_t n_classes_;
    double entropy_before_ = 0.0;
    // Of the branches; kept between calls for its memory.
    std::vector<double> weights_;
};

// Suggestions in River's order: the null split where the rules allow one, then one an observer.
std::vector<Suggestion> suggest_splits(const Leaf &leaf, const TreeRules &rules,
                                       const Schema &schema, Merit &merit);

Children children_of(const Leaf &leaf, const Suggestion &split, const Schema &schema);

}  // namespace driftline
