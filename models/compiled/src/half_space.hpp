// River's HalfSpaceTrees: random trees that count how many events come to each of their corners.
// Nothing here knows Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "archive.hpp"
#include "random.hpp"

namespace driftline {

// The range in which a feature's values are expected.
struct Limits {
    double low = 0.0;
    double high = 1.0;

    template <class Archive> void archive(Archive &a) { a(low, high); }
};

struct HalfSpaceRules {
    // What a model may have of either; Python checks it with better words.
    static constexpr int32_t kHeightMax = 20;
    static constexpr int64_t kLeavesMax = 1 << 24;
    static constexpr int32_t kWindowMax = 1 << 27;

    int32_t n_trees = 10;
    int32_t height = 8;
    int32_t window_size = 250;
    // What Python seeded the generator with.
    bool has_seed = false;
    int64_t seed = 0;

    template <class Archive> void archive(Archive &a) {
        a(n_trees, height, window_size, has_seed, seed);
        a.check(n_trees > 0 && height >= 0 && height <= kHeightMax && n_leaves() <= kLeavesMax &&
                window_size > 0 && window_size <= kWindowMax);
    }
    int64_t n_leaves() const { return static_cast<int64_t>(n_trees) << height; }
};

class HalfSpace {
   public:
    HalfSpaceRules rules;
    // As it was before the trees were planted: with the limits it says what they are, so a dump
    // needs neither features nor thresholds.
    Random random;
    // Of each feature of the first event, by slot.
    std::vector<Limits> limits;

    bool is_planted() const { return !trees_.empty(); }
    // Draw the trees; `sorted` has the slots of `limits` in River's order.
    void plant(const std::vector<int32_t> &sorted);
    void uproot() { trees_.clear(); }
    // Values are by slot, NaN where the event lacks the feature.
    void learn(const double *values);
    double score(const double *values) const;
    size_t bytes() const;

    // The counts alone. Each event ends at a leaf, so leaves tell the counts of what is above.
    template <class Archive> void archive_masses(Archive &a) {
        a(n_in_window_, is_first_window_);
        a.check(n_in_window_ >= 0 && n_in_window_ < rules.window_size);
        const int64_t n_before = is_first_window_ ? 0 : rules.window_size;
        for (Tree &tree : trees_) {
            archive_leaves(a, tree.latest, n_in_window_);
            archive_leaves(a, tree.reference, n_before);
        }
    }

   private:
    struct Split {
        int32_t feature;
        double threshold;
    };
    // In heap order: the children of node i are 2 i + 1 and 2 i + 2.
    struct Tree {
        std::vector<Split> splits;
        // Events of this window, and of the last complete one.
        std::vector<int32_t> latest;
        std::vector<int32_t> reference;
    };

    template <class Archive>
    void archive_leaves(Archive &a, std::vector<int32_t> &masses, int64_t n_expected) {
        int64_t n = 0;
        for (size_t leaf = n_splits(); leaf < masses.size(); leaf++) {
            a.small(masses[leaf]);
            n += masses[leaf];
        }
        a.check(n == n_expected);
        if (a.loading && !a.failed()) add_up(masses);
    }
    size_t n_splits() const { return (size_t{1} << rules.height) - 1; }
    void draw(Tree &tree, size_t node, int height, const std::vector<int32_t> &sorted,
              std::vector<Limits> &within, Random &from) const;
    size_t step(const Tree &tree, size_t node, const double *values) const;
    void add_up(std::vector<int32_t> &masses) const;
    void begin_window();

    std::vector<Tree> trees_;
    int32_t n_in_window_ = 0;
    bool is_first_window_ = true;
};

}  // namespace driftline
