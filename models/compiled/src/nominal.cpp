#include "nominal.hpp"

#include <cmath>

#include "memory.hpp"

namespace driftline {

bool NominalObserver::update(int32_t category, int32_t cls, double weight) {
    const int32_t slot = categories_.add(category);
    ClassCounts &counts = touch(cls);
    const auto at = static_cast<size_t>(slot);
    if (at >= counts.weights.size()) counts.weights.resize(at + 1, 0.0);
    const bool is_new = counts.weights[at] == 0.0;
    if (is_new) counts.order.push_back(slot);
    counts.weights[at] += weight;
    // Mostly it is 1, and floor may be a call.
    const bool is_whole = weight == 1.0 || weight == std::floor(weight);
    counts.whole = counts.whole && is_whole && counts.sum < 0x1p52;
    counts.sum = counts.whole ? counts.sum + weight : sum(counts);
    return is_new;
}

NominalObserver::ClassCounts &NominalObserver::touch(int32_t cls) {
    for (ClassCounts &counts : classes_) {
        if (counts.cls == cls) return counts;
    }
    classes_.push_back({cls, {}, {}, 0.0, true});
    return classes_.back();
}

double NominalObserver::log_probability(int32_t category, int32_t cls) const {
    const ClassCounts *counts = counts_of(cls);
    const int32_t slot = categories_.find(category);
    if (counts == nullptr || slot < 0) return 0.0;
    const double weight = counts->weight(static_cast<size_t>(slot));
    return weight > 0.0 ? std::log(weight / counts->sum) : 0.0;
}

size_t NominalObserver::bytes() const {
    size_t n = sizeof *this + categories_.bytes() + bytes_of(classes_);
    for (const ClassCounts &counts : classes_) {
        n += bytes_of(counts.order) + bytes_of(counts.weights);
    }
    return n;
}

// In River's order, which tells in the last bit of a sum of fractions.
double NominalObserver::sum(const ClassCounts &counts) {
    double total = 0.0;
    for (const int32_t slot : counts.order) total += counts.weights[static_cast<size_t>(slot)];
    return total;
}

const NominalObserver::ClassCounts *NominalObserver::counts_of(int32_t cls) const {
    for (const ClassCounts &counts : classes_) {
        if (counts.cls == cls) return &counts;
    }
    return nullptr;
}

}  // namespace driftline
