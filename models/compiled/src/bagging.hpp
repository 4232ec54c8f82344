// River's ADWIN bagging and leveraging bagging: each member learns an event as often as is drawn,
// and when the error of one rises, the worst of all starts afresh.
#pragma once

#include <optional>
#include <variant>

#include "adaptive_tree.hpp"
#include "logistic.hpp"

namespace driftline {

struct BaggingRules {
    enum class Base : uint8_t { kTree, kAdaptiveTree, kLogistic };
    // How often a member learns an event: as drawn by `rate`; or by 1, once more or at most once.
    enum class Draw : uint8_t { kPoisson, kOneMore, kAtMostOnce };

    // What Python seeded the generator of the draws with.
    bool has_seed = false;
    int64_t seed = 0;
    int32_t n_models = 10;
    Draw draw = Draw::kPoisson;
    double rate = 1.0;
    // River's ADWIN bagging watches how often a member is right, after it has learned; leveraging
    // bagging how often it is wrong. Both replace where the watched mean is greatest.
    bool watches_hits = true;
    AdwinRules adwin;
    Base base = Base::kTree;
    AdaptiveRules adaptive;
    LogisticOptions logistic;
    // What a fresh adaptive tree draws from: River's are clones, so all have the same seed.
    Random base_random;

    template <class Archive> void archive(Archive &a) {
        a(has_seed, seed, n_models, draw, rate, watches_hits, adwin, base);
        a.check(n_models > 0 && n_models < 100000 && draw <= Draw::kAtMostOnce &&
                base <= Base::kLogistic && rate >= 0.0 && rate <= kRateMax);
        a(adaptive, logistic);
        if (base == Base::kAdaptiveTree) a(base_random);
    }

    // Beyond it the draw of a Poisson number ends too early.
    static constexpr double kRateMax = 700.0;
};

// A logistic regression among trees: it has two classes from the start, False and True.
class BaggedLogistic {
   public:
    explicit BaggedLogistic(const LogisticOptions &options) {
        logistic_.options = options;
        logistic_.reset();
    }

    static void forget_row() {}
    static void trace(const Row &) {}
    static const std::vector<int32_t> &classes();
    void predict(const Row &row, std::vector<double> &proba);
    void learn(const Row &row, int32_t cls, double weight);
    size_t bytes() const { return sizeof *this + logistic_.bytes(); }
    size_t measure() const { return bytes(); }

    template <class Archive> void archive(Archive &a) { logistic_.archive(a); }

   private:
    // The row as the kernel reads it.
    void lay_out(const Row &row);

    Logistic logistic_;
    std::vector<double> values_;
    bool is_dense_ = false;
};

class Bagging {
   public:
    Bagging(TreeContext &context, const BaggingRules &rules) : context_(&context), rules_(&rules) {}

    // The next row is another one than the last.
    void forget_row();
    // Fill `proba`, by class id, for the classes listed in `order`, which is River's order.
    void predict(const Row &row, std::vector<double> &proba, std::vector<int32_t> &order);
    // Why it says what it says of the row that it was last asked about: the mean of its trees.
    void attribute(const Row &row, int32_t cls, Attribution &found);
    void learn(const Row &row, int32_t cls);

    // How often the worst member was replaced.
    std::vector<int64_t> statistics() const { return {n_changes_}; }
    // Null for what is no tree.
    const Tree *tree(size_t i) const;
    size_t size() const { return members_.size(); }
    size_t bytes() const;
    size_t measure() const;

    template <class Archive> void archive(Archive &a) {
        bool has_members = !members_.empty();
        a(has_members, n_changes_);
        const bool is_binary = a.schema->classes.size() == BaggedLogistic::classes().size();
        a.check(rules_->base != BaggingRules::Base::kLogistic || is_binary);
        if (a.loading && !a.failed()) plant();
        if (!has_members) return;
        for (size_t i = 0; i < members_.size() && !a.failed(); i++) {
            std::visit([&](auto &model) { model.archive(a); }, members_[i].model);
            members_[i].adwin.archive(a);
            if (!randoms_.empty()) a(randoms_[i]);
        }
    }

   private:
    struct Member {
        std::variant<Tree, AdaptiveTree, BaggedLogistic> model;
        Adwin adwin;
    };

    void plant();
    Member fresh_member(size_t i);
    int draw();
    int32_t predict_class(Member &member, const Row &row);
    void replace_worst();

    TreeContext *context_;
    const BaggingRules *rules_;
    std::vector<Member> members_;
    // Those of adaptive trees, each its own.
    std::vector<Random> randoms_;
    int64_t n_changes_ = 0;
    std::vector<double> proba_;
};

}  // namespace driftline
