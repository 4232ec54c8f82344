// What a leaf has seen of a nominal feature: the weight of each category in each class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "categories.hpp"

namespace driftline {

class NominalObserver {
   public:
    struct ClassCounts {
        int32_t cls = 0;
        // Categories (as slots) in order of their first appearance in this class.
        std::vector<int32_t> order;
        // By slot; zero: not seen in this class.
        std::vector<double> weights;
        double sum = 0.0;
        // Whether all weights are whole numbers: sums of such are exact in any order.
        bool whole = true;

        double weight(size_t slot) const { return slot < weights.size() ? weights[slot] : 0.0; }
    };

    // True if something new was seen.
    bool update(int32_t category, int32_t cls, double weight);

    // River's observer remembers a class as soon as it is asked about it, and sums in that order.
    ClassCounts &touch(int32_t cls);
    size_t n_touched() const { return classes_.size(); }

    // log P(category | class), zero where that is nil.
    double log_probability(int32_t category, int32_t cls) const;

    // By slot, in order of first appearance.
    const std::vector<int32_t> &categories() const { return categories_.codes(); }
    const std::vector<ClassCounts> &classes() const { return classes_; }

    size_t bytes() const;

    template <class Archive> void archive(Archive &a, size_t n_categories) {
        size_t n_classes = classes_.size();
        categories_.archive(a);
        for (const int32_t code : categories()) a.check_index(code, n_categories);
        a.count(n_classes);
        if (a.loading) classes_.assign(n_classes, ClassCounts{});
        for (ClassCounts &counts : classes_) archive_counts(a, counts);
    }

   private:
    template <class Archive> void archive_counts(Archive &a, ClassCounts &counts) {
        a(counts.cls, counts.order, counts.whole);
        a.check_class(counts.cls);
        for (const int32_t slot : counts.order) {
            const auto at = static_cast<size_t>(slot);
            a.check_index(slot, categories_.size());
            if (a.failed()) return;
            if (at >= counts.weights.size()) counts.weights.resize(at + 1, 0.0);
            a.compact(counts.weights[at]);
        }
        if (a.loading) counts.sum = sum(counts);
    }

    static double sum(const ClassCounts &counts);
    const ClassCounts *counts_of(int32_t cls) const;

    CategorySlots categories_;
    std::vector<ClassCounts> classes_;
};

}  // namespace driftline
