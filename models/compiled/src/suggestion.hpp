// A split that the observer of a feature suggests.
#pragma once

#include <cstdint>
#include <limits>

namespace driftline {

enum class SplitKind : uint8_t { kNone, kNumericBinary, kNominalBinary, kNominalMultiway };

// Without a feature it is River's null split: leave it be.
struct Suggestion {
    double merit = -std::numeric_limits<double>::infinity();
    SplitKind kind = SplitKind::kNone;
    int32_t feature = -1;
    // The threshold, or the category that goes left.
    double value = 0.0;
};

}  // namespace driftline
