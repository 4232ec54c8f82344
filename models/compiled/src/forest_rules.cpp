#include "forest_rules.hpp"

#include <algorithm>
#include <cmath>

namespace driftline {

int32_t ForestRules::max_features(int32_t n) const {
    double wanted = n;
    switch (features) {
        case Features::kAll:
            break;
        case Features::kSqrt:
            wanted = std::nearbyint(std::sqrt(n));
            break;
        case Features::kLog2:
            wanted = n > 0 ? std::nearbyint(std::log2(n)) : 0.0;
            break;
        case Features::kNumber:
            wanted = n_features;
            break;
        case Features::kShare:
            wanted = std::trunc(n_features * n);
            break;
    }
    if (wanted < 0.0) wanted += n;
    return static_cast<int32_t>(std::min<double>(std::max(wanted, 1.0), n));
}

}  // namespace driftline
