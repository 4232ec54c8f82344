// A leaf: what it has seen of each class and feature, and what it predicts from that.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "gaussians.hpp"
#include "nominal.hpp"
#include "random.hpp"
#include "schema.hpp"

namespace driftline {

enum class Criterion : uint8_t { kInfoGain, kGini, kHellinger };
enum class LeafPrediction : uint8_t { kMajorityClass, kNaiveBayes, kNaiveBayesAdaptive };

// River's parameters of a Hoeffding tree.
struct TreeRules {
    double grace_period = 200.0;
    int32_t max_depth = 980;
    Criterion criterion = Criterion::kInfoGain;
    double delta = 1e-7;
    double tau = 0.05;
    LeafPrediction leaf_prediction = LeafPrediction::kNaiveBayesAdaptive;
    double nb_threshold = 0.0;
    int32_t n_splits = 10;
    bool binary_split = false;
    double min_branch_fraction = 0.01;
    double max_share_to_split = 0.99;
    double max_bytes = 100.0 * 1048576.0;
    bool stop_mem_management = false;
    bool remove_poor_attrs = false;
    bool merit_preprune = true;
    // Features that a leaf watches, drawn at random when it first learns; -1: all. A forest decides
    // it by its first event.
    int32_t max_features = -1;

    template <class Archive> void archive(Archive &a) {
        a(grace_period, max_depth, criterion, delta, tau, leaf_prediction, nb_threshold, n_splits,
          binary_split, min_branch_fraction, max_share_to_split, max_bytes, stop_mem_management,
          remove_poor_attrs, merit_preprune);
        a.check(criterion <= Criterion::kHellinger &&
                leaf_prediction <= LeafPrediction::kNaiveBayesAdaptive);
    }
};

// One event's features. `values` is by feature id: a number, the code of a category (-1: one that
// was never learned), or NaN where the event lacks the feature. `features` are those it has, in the
// order of its dict, which decides the order of sums.
struct Row {
    const double *values;
    const int32_t *features;
    int32_t size;
    // As `values`, but with the numbers that categories were given as.
    const double *numbers;
    // Whether it has all features that are known, in the order of their ids, and none is NaN.
    bool is_whole;

    double operator[](int32_t feature) const { return values[feature]; }
    bool has(int32_t feature) const { return !std::isnan(values[feature]); }
};

// The weight of a class, in an order that decides ties and the last bits of sums, as in River.
struct Share {
    int32_t cls;
    double weight;
};

double sum(const std::vector<Share> &shares);

// What a leaf of a random forest watches: so many of the row's features, as River draws them.
std::vector<int32_t> sample_features(const Row &row, int32_t n, const Schema &schema,
                                     Random &random);

// Memory for the terms of a vote, kept between calls.
struct Scratch {
    std::vector<double> values;
    std::vector<double> terms;
    std::vector<double> others;
};

// A class in the eyes of a numeric feature's observer: a Gaussian, and the range seen.
struct ClassGaussian {
    int32_t cls;
    double born;
    double mean;
    double n;
    double s;
    double min;
    double max;
};

class Leaf {
   public:
    Leaf(std::vector<Share> shares, int32_t depth);
    // One that has seen nothing.
    Leaf(int32_t depth, const TreeRules &) : Leaf(std::vector<Share>(), depth) {}

    const std::vector<Share> &shares() const { return shares_; }
    double total_weight() const { return sum(shares_); }
    // By share; River's `normalize_values_in_dict`, which leaves a sum of zero alone.
    void majority(std::vector<double> &votes) const;
    // By share; false where River's naive Bayes has nothing to say.
    bool naive_bayes(const Row &row, std::vector<double> &votes, Scratch &scratch) const;
    // Add, by feature and `times` over, how far naive Bayes moves P(cls) from the class's share. What
    // speaks for the class and what speaks against it are two players with a Shapley value each,
    // which features share by their log-likelihood ratios. Of two classes; else nothing is added.
    void attribute(const Row &row, int32_t cls, double times, std::vector<double> &contributions,
                   Scratch &scratch) const;
    // The place of the first greatest vote, or -1.
    static int32_t first_greatest(const std::vector<double> &votes);
    // How far from pure it is: the more, the more a split may bring.
    double promise() const;
    bool is_pure() const;

    // River's naive Bayes leaves a trace in nominal observers; see NominalObserver::touch.
    void touch(const Row &row);
    void learn(const Row &row, int32_t cls, double weight, const TreeRules &rules,
               const Schema &schema, Random &random, Scratch &scratch);

    bool is_active() const { return active_; }
    void activate();
    // Forgets all but the classes' weights.
    void deactivate();
    void disable(int32_t feature);

    size_t n_observers() const { return features_.size(); }
    int32_t feature(size_t observer) const { return features_[observer]; }
    const NominalObserver *nominal(size_t observer) const { return nominals_[observer].get(); }
    // In the order in which the observer first saw the classes.
    void gaussians(size_t observer, std::vector<ClassGaussian> &found) const;

    size_t bytes() const;
    // How many bytes it has grown by since it was last asked.
    ptrdiff_t settle();
    size_t settled_bytes() const { return settled_bytes_; }

    int32_t depth;
    double last_split_attempt_at;
    double mc_correct_weight = 0.0;
    double nb_correct_weight = 0.0;

    template <class Archive> void archive(Archive &a) {
        archive_classes(a);
        a(depth, last_split_attempt_at, mc_correct_weight, nb_correct_weight, active_);
        size_t width = width_;
        a.count(width);
        a(disabled_, sampled_, features_);
        a.check(features_.size() <= width && width <= a.schema->features.size());
        if (a.failed()) return;
        if (a.loading) {
            widen(width);
            nominals_.resize(features_.size());
            find_order();
        }
        for (const int32_t feature : disabled_) a.check_feature(feature);
        for (const int32_t feature : sampled_) a.check_feature(feature);
        for (size_t s = 0; s < features_.size(); s++) {
            a.check_feature(features_[s]);
            if (a.failed()) return;
            const Feature &feature = a.schema->features[static_cast<size_t>(features_[s])];
            if (feature.is_nominal()) {
                if (a.loading) {
                    nominals_[s] = std::make_unique<NominalObserver>();
                    n_nominals_++;
                }
                nominals_[s]->archive(a, feature.categories.size());
            } else {
                archive_gaussians(a, s);
            }
        }
    }

   private:
    // Columns of a block; each holds one cell an observer, so that loops run over observers.
    // Mean, kNegTwoVariance and kHalfLogVariance are all that naive Bayes reads.
    enum Column { kMean, kNegTwoVariance, kHalfLogVariance, kN, kS, kMin, kMax, kBorn, kColumns };

    // The Gaussians of one class.
    struct Block {
        int32_t cls;
        // Whether the cells of all observers have learned.
        bool are_born;
        std::vector<double> cells;
    };

    template <class Archive> void archive_classes(Archive &a) {
        size_t n = shares_.size();
        a.count(n);
        if (a.loading) shares_.assign(n, Share{0, 0.0});
        for (Share &share : shares_) {
            a(share.cls);
            a.compact(share.weight);
            a.check_class(share.cls);
        }
    }

    template <class Archive> void archive_gaussians(Archive &a, size_t s) {
        std::vector<ClassGaussian> found;
        if (!a.loading) gaussians(s, found);
        size_t n = found.size();
        a.count(n);
        found.resize(n);
        for (ClassGaussian &g : found) {
            a(g.cls, g.mean, g.s);
            a.compact(g.n, g.min, g.max);
            a.check_class(g.cls);
            a.check(g.n > 0.0);
            g.born = static_cast<double>(&g - found.data());
            if (a.loading && !a.failed()) restore(s, g);
        }
        n_learned_ = std::max(n_learned_, static_cast<double>(n));
    }

    // The row's values by observer: its own where that is their order, or else copied.
    const double *values_of(const Row &row, Scratch &scratch) const;
    // What observers say of a class, in logarithms: `terms`, from the values by observer.
    void log_likelihoods(size_t share, const double *x, Scratch &scratch) const;
    void restore(size_t observer, const ClassGaussian &gaussian);
    size_t observer_of(int32_t feature, size_t guess);
    size_t add_observer(int32_t feature, bool is_nominal);
    Block &block_of(int32_t cls);
    const Block *find_block(size_t share) const;
    void widen(size_t n_observers);
    void find_order();
    void clear_cell(Block &block, size_t observer) const;
    bool watches(const Row &row, const int32_t *features, size_t n) const;
    bool learn_all(const Row &row, int32_t cls, double weight, Scratch &scratch);
    void learn_each(const int32_t *features, size_t n, const Row &row, int32_t cls, double weight,
                    const Schema &schema);
    // The cells of the observers from `first` on.
    GaussianColumns columns(Block &block, size_t first) const;
    double *column(Block &block, Column column) const {
        return block.cells.data() + static_cast<size_t>(column) * width_;
    }
    const double *column(const Block &block, Column column) const {
        return block.cells.data() + static_cast<size_t>(column) * width_;
    }

    bool active_ = true;
    // Whether `features_` are the first ones that are known, in the order of their ids.
    bool is_in_order_ = true;
    std::vector<Share> shares_;
    // Observers in order of their first value; a null nominal is a numeric one.
    std::vector<int32_t> features_;
    std::vector<std::unique_ptr<NominalObserver>> nominals_;
    size_t n_nominals_ = 0;
    std::vector<Block> blocks_;
    size_t width_ = 0;
    double n_learned_ = 0.0;
    bool has_grown_ = true;
    size_t settled_bytes_ = 0;
    std::vector<int32_t> disabled_;
    std::vector<int32_t> sampled_;
};

}  // namespace driftline
