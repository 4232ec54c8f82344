// What a leaf of a regression tree has seen of a numeric feature: River's E-BST.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "regression_rules.hpp"

namespace driftline {

// Python's round(value, digits).
double python_round(double value, int32_t digits);

// A search tree of values in order of arrival, unbalanced as River's, since its shape decides the
// order of sums. A value knows the targets of itself and of what went to its left.
class ValueTree {
   public:
    // True if the value is new.
    bool update(double value, double target, double weight);
    void suggest(const VarianceReduction &reduction, RegressionSuggestion &best) const;
    // Drop values that would split much worse than the best split of all that was just not made.
    void prune(const VarianceReduction &reduction, double best_merit, double ratio_min);

    size_t bytes() const { return bytes_of(items_); }

    template <class Archive> void archive(Archive &a) {
        // In the order of a walk from the root, so that equal trees are equal bytes.
        if (!a.loading) order();
        size_t n = items_.size();
        a.count(n);
        if (a.loading) items_.assign(n, Item());
        std::vector<int32_t> open;
        for (size_t at = 0; at < n && !a.failed(); at++) {
            Item &item = items_[at];
            bool has_left = item.left >= 0, has_right = item.right >= 0;
            a.compact(item.value);
            a(item.below, has_left, has_right);
            if (!a.loading) continue;
            // Next comes its left, or else the right of the last that has one.
            const auto next = static_cast<int32_t>(at) + 1;
            if (has_right) open.push_back(static_cast<int32_t>(at));
            if (has_left) {
                item.left = next;
            } else if (!open.empty()) {
                items_[static_cast<size_t>(open.back())].right = next;
                open.pop_back();
            } else {
                a.check(at + 1 == n);
                return;
            }
            a.check(at + 1 < n);
        }
    }

   private:
    static constexpr int32_t kNone = -1;

    struct Item {
        double value = 0.0;
        Variance below;
        int32_t left = kNone;
        int32_t right = kNone;
    };

    const Item &item(int32_t at) const { return items_[static_cast<size_t>(at)]; }
    Item &item(int32_t at) { return items_[static_cast<size_t>(at)]; }
    // Put items into the order of a walk from the root, and forget those that are cut off.
    void order();

    // The root is the first.
    std::vector<Item> items_;
};

}  // namespace driftline
