// River's HoeffdingTreeClassifier, and the random tree of its forest.
#pragma once

#include <vector>

#include "splits.hpp"
#include "tree_shape.hpp"

namespace driftline {

using TreeContext = Context<TreeRules>;

class Tree : public TreeShape<Leaf, TreeContext> {
   public:
    using TreeShape::TreeShape;
    using TreeShape::total_weight;

    // Fill `proba`, by class id, for `classes()`; others stay as they are.
    void predict(const Row &row, std::vector<double> &proba);
    void learn(const Row &row, int32_t cls, double weight);
    // Leave the trace in nominal observers that River's trees leave when they predict for the row
    // that is now the last.
    void trace(const Row &row);
    // Add why this tree says what it says of the row that it was last asked about, `times` over; a
    // tree that says nothing adds nothing. Each split is credited with the change from the share of
    // the class among all that the leaves below it have seen to that of the branch that is taken
    // (Saabas' path attribution), naive Bayes in the leaf with what it adds to that.
    void attribute(const Row &row, int32_t cls, double times, Attribution &found);
    // What is predicted, -1 while no class is known.
    int32_t predict_class(const Row &row);

    // In the order of River's predictions.
    const std::vector<int32_t> &classes() const { return classes_; }
    size_t bytes() const { return bytes_ + bytes_of(masses_) + sizeof *this; }
    // The same, counted again.
    size_t measure() const { return measure_nodes() + bytes_of(masses_) + sizeof *this; }

    template <class Archive> void archive(Archive &a) {
        a(weight_seen_, arrivals_, n_active_, n_inactive_, growth_allowed_, is_limited_,
          bytes_patience_);
        for (const int32_t cls : arrivals_) a.check_class(cls);
        archive_root(a);
        if (a.loading && !a.failed()) order_classes();
    }

   protected:
    // Votes of a leaf as River's HoeffdingTreeClassifier has them, by share; until the next call.
    const std::vector<double> &vote(int32_t at, const Row &row);
    bool votes_by_bayes(const Leaf &leaf) const;
    // What naive Bayes says at a leaf, computed once a row; false if nothing.
    bool bayes(int32_t at, const Row &row);

    // What a leaf has seen of a class: of masses, the mean is the class's share.
    static auto share_of(int32_t cls) {
        return [cls](const Leaf &leaf) {
            Mass mass;
            for (const Share &share : leaf.shares()) {
                mass.total += share.weight;
                if (share.cls == cls) mass.sum += share.weight;
            }
            return mass;
        };
    }
    void credit_leaf(int32_t at, const Row &row, int32_t cls, double times, Attribution &found);

    void begin_learning(int32_t cls, double weight);
    void learn_leaf(int32_t at, const Row &row, int32_t cls, double weight);
    // True if it was split, or given up and started afresh. The split takes the place of the node
    // `place`: the leaf itself, or what it is an alternate of.
    bool attempt_to_split(int32_t at, int32_t place);
    void order_classes();

    // Classes in order of arrival, and in that of predictions.
    std::vector<int32_t> arrivals_;
    std::vector<int32_t> classes_;

    // Shared by the prediction for a row and the learning of it.
    bool has_bayes_ = false;
    bool bayes_says_ = false;
    // Whether tests alone have led to the leaf that was seen.
    bool was_by_tests_ = false;
    std::vector<double> bayes_votes_;
    std::vector<double> votes_;
    std::vector<double> proba_;
    Scratch scratch_;

   private:
    // The leaf that a row is predicted by.
    int32_t see_leaf(const Row &row);
    int32_t learning_leaf(const Row &row, bool &by_tests);
    void split(int32_t at, int32_t place, const Suggestion &decision);
};

}  // namespace driftline
