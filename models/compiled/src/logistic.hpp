// River's StandardScaler | LogisticRegression in one pass: the same float operations in the same
// order. Nothing here knows Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace driftline {

enum class Optimizer : uint8_t { sgd = 0, ada_grad = 1, ftrl = 2 };

struct LogisticOptions {
    bool with_std = true;
    Optimizer optimizer = Optimizer::sgd;
    // SGD: the rate. AdaGrad: the rate, eps. FTRL: alpha, beta, l1, l2.
    double optimizer_options[4] = {0.01, 0.0, 0.0, 0.0};
    double l2 = 0.0;
    double l1 = 0.0;
    double intercept_init = 0.0;
    double intercept_rate = 0.01;
    double clip_gradient = 1e12;
    double weight_pos = 1.0;
    double weight_neg = 1.0;

    template <class Archive> void archive(Archive &a) {
        a(with_std, optimizer);
        for (double &option : optimizer_options) a(option);
        a(l2, l1, intercept_init, intercept_rate, clip_gradient, weight_pos, weight_neg);
        a.check(optimizer <= Optimizer::ftrl);
    }
};

class Logistic {
   public:
    LogisticOptions options;
    double intercept = 0.0;
    int64_t n_iterations = 0;
    double l1_total = 0.0;  // River's max_cum_l1.
    // One item for each feature, by slot.
    std::vector<double> counts, means, variances, weights;
    // AdaGrad: sums of squared gradients. FTRL: z and n. With l1: the penalty applied so far.
    std::vector<double> accumulated, ftrl_n, l1_applied;

    void reset();
    // The arrays that a model with these options has, in the order of a dump.
    std::vector<std::vector<double> *> arrays();
    size_t bytes() const;
    // All but the options; names of features are kept elsewhere.
    template <class Archive> void archive(Archive &a) {
        a(intercept, n_iterations, l1_total);
        size_t n_features = counts.size();
        a.count(n_features);
        a.check(n_features <= a.schema->features.size());
        if (a.loading && !a.failed()) grow(n_features);
        for (std::vector<double> *array : arrays()) {
            for (size_t slot = 0; slot < n_features && !a.failed(); slot++) a((*array)[slot]);
        }
        if (a.loading) refresh();
    }
    // Make room for features up to this many, and bring what is derived up to date.
    void grow(size_t n_features);
    void refresh();
    // P(true) of a row; slots below zero are features never learned. A dense row has value j at slot j.
    double probability(const int *slots, const double *values, size_t n, bool is_dense) const;
    // What a value of a feature adds to the margin.
    double contribution(size_t slot, double value) const {
        return weights[slot] * ((value - means[slot]) / divisors_[slot]);
    }
    void learn(const int *slots, const double *values, size_t n, bool is_dense, bool y, double w);

   private:
    template <typename Slot>
    double margin(Slot slot, const double *values, size_t n) const;
    template <typename Slot>
    void scale(Slot slot, const double *values, size_t n);
    template <typename Slot>
    void step(Slot slot, size_t n, bool y, double w);
    template <typename Slot>
    void penalise(Slot slot, size_t n);
    double loss_gradient(double margin, bool y, double w) const;

    // What a scaled value is divided by: the deviation; infinity while that is zero, so that the
    // result is zero, as River's is.
    std::vector<double> divisors_;
    std::vector<double> scaled_, gradients_, unsure_;
};

}  // namespace driftline
