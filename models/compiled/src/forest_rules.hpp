// River's parameters of an adaptive random forest, beside those of its trees.
#pragma once

#include <cstdint>

#include "adwin.hpp"

namespace driftline {

struct ForestRules {
    enum class Features : uint8_t { kAll, kSqrt, kLog2, kNumber, kShare };

    int32_t n_models = 10;
    Features features = Features::kSqrt;
    // How many, or which share of them, a leaf watches.
    double n_features = 0.0;
    double lambda = 6.0;
    bool disable_weighted_vote = false;
    bool has_warnings = true;
    bool has_drifts = true;
    AdwinRules warning;
    AdwinRules drift;

    // River's `_set_max_features`, for a first event with so many.
    int32_t max_features(int32_t n) const;

    template <class Archive> void archive(Archive &a) {
        a(n_models, features, n_features, lambda, disable_weighted_vote, has_warnings, has_drifts,
          warning, drift);
        a.check(n_models > 0 && n_models < 100000 && features <= Features::kShare);
    }
};

}  // namespace driftline
