// The LinearRegression that River puts into the leaves of a regression tree.
#pragma once

#include <cstddef>
#include <vector>

#include "leaf.hpp"
#include "memory.hpp"

namespace driftline {

// Squared loss and plain SGD with constant rates; weights begin at zero.
struct LinearRules {
    double rate = 0.01;
    double l2 = 0.0;
    double intercept_init = 0.0;
    double intercept_rate = 0.01;
    double clip_gradient = 1e12;

    template <class Archive> void archive(Archive &a) {
        a(rate, l2, intercept_init, intercept_rate, clip_gradient);
    }
};

class Linear {
   public:
    explicit Linear(const LinearRules &rules) : intercept_(rules.intercept_init) {}

    double predict(const Row &row) const {
        double total = 0.0;
        for (int32_t j = 0; j < row.size; j++) {
            const auto at = static_cast<size_t>(row.features[j]);
            if (at < weights_.size()) total += weights_[at] * row.numbers[at];
        }
        return total + intercept_;
    }

    // With what it predicts for the row.
    void learn(const Row &row, double target, double weight, double predicted,
               const LinearRules &rules) {
        double loss = 2.0 * (predicted - target) * weight;
        loss = std::max(std::min(loss, rules.clip_gradient), -rules.clip_gradient);
        intercept_ -= rules.intercept_rate * loss;
        for (int32_t j = 0; j < row.size; j++) {
            const auto at = static_cast<size_t>(row.features[j]);
            if (at >= weights_.size()) weights_.resize(at + 1, 0.0);
            double gradient = row.numbers[at] * loss;
            if (rules.l2 != 0.0) gradient += rules.l2 * weights_[at];
            weights_[at] -= rules.rate * gradient;
        }
    }

    size_t n_weights() const { return weights_.size(); }
    size_t bytes() const { return bytes_of(weights_); }

    template <class Archive> void archive(Archive &a) {
        a(intercept_, weights_);
        a.check(weights_.size() <= a.schema->features.size());
    }

   private:
    double intercept_;
    // By feature.
    std::vector<double> weights_;
};

}  // namespace driftline
