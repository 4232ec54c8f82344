#include "value_tree.hpp"

#include <cmath>

namespace driftline {

namespace {

// Powers of ten are floats up to 10**22, so a whole number below 2**53 over one rounds once, as the
// decimal text does that Python takes the way over.
double power_of_ten(int32_t digits) {
    double power = 1.0;
    for (int32_t i = 0; i < digits; i++) power *= 10.0;
    return power;
}

}  // namespace

double python_round(double value, int32_t digits) {
    const double power = power_of_ten(digits);
    const double scaled = value * power;
    // Beyond it, floats are further apart than the decimals that they would be rounded to.
    if (!(std::fabs(scaled) < 0x1p53)) return value;
    double whole = std::nearbyint(scaled);
    // The product was rounded, so what looks like a tie may be none.
    if (std::fabs(scaled - std::trunc(scaled)) == 0.5) {
        const double error = std::fma(value, power, -scaled);
        if (error != 0.0) whole = error > 0.0 ? std::ceil(scaled) : std::floor(scaled);
    }
    return whole / power;
}

bool ValueTree::update(double value, double target, double weight) {
    int32_t at = items_.empty() ? kNone : 0;
    int32_t last = kNone;
    bool is_right = false;
    while (at >= 0) {
        Item &here = item(at);
        last = at;
        is_right = value > here.value;
        if (is_right) {
            at = here.right;
            continue;
        }
        here.below.update(target, weight);
        if (value == here.value) return false;
        at = here.left;
    }
    const auto added = static_cast<int32_t>(items_.size());
    items_.emplace_back();
    items_.back().value = value;
    items_.back().below.update(target, weight);
    if (last >= 0) (is_right ? item(last).right : item(last).left) = added;
    return true;
}

void ValueTree::suggest(const VarianceReduction &reduction, RegressionSuggestion &best) const {
    if (items_.empty()) return;
    enum class Step : uint8_t { kDescend, kWeigh, kEnterRight, kLeaveRight };
    std::vector<std::pair<int32_t, Step>> open{{0, Step::kDescend}};
    Variance passed, best_left, best_right;
    while (!open.empty()) {
        const auto [at, step] = open.back();
        open.pop_back();
        const Item &here = item(at);
        switch (step) {
            case Step::kDescend:
                if (here.right >= 0) {
                    open.emplace_back(at, Step::kLeaveRight);
                    open.emplace_back(here.right, Step::kDescend);
                    open.emplace_back(at, Step::kEnterRight);
                }
                open.emplace_back(at, Step::kWeigh);
                if (here.left >= 0) open.emplace_back(here.left, Step::kDescend);
                break;
            case Step::kEnterRight:
                passed += here.below;
                break;
            case Step::kLeaveRight:
                passed -= here.below;
                break;
            case Step::kWeigh: {
                const Variance left = here.below + passed;
                const Variance right = reduction.before() - left;
                const double merit = reduction.of(left, right);
                if (!(merit > best.merit)) break;
                best.merit = merit;
                best.value = here.value;
                best_left = left;
                best_right = right;
                break;
            }
        }
    }
    best.kind = SplitKind::kNumericBinary;
    best.after = {best_left, best_right};
}

// River's `remove_bad_splits`: a value goes that is bad itself and has nothing but such below it.
void ValueTree::prune(const VarianceReduction &reduction, double best_merit, double ratio_min) {
    if (items_.empty()) return;
    enum class Phase : uint8_t { kLeft, kRight, kJudge };
    struct Frame {
        int32_t at;
        int32_t *link;
        Phase phase;
        bool has_passed;
    };
    int32_t root = 0;
    std::vector<Frame> open{{0, &root, Phase::kLeft, false}};
    Variance passed;
    bool is_bad = false, has_changed = false;
    while (!open.empty()) {
        Frame &frame = open.back();
        Item &here = item(frame.at);
        if (frame.phase == Phase::kLeft) {
            frame.phase = Phase::kRight;
            is_bad = true;
            if (here.left >= 0) open.push_back({here.left, &here.left, Phase::kLeft, false});
        } else if (frame.phase == Phase::kRight) {
            if (!is_bad) {
                open.pop_back();
                continue;
            }
            frame.phase = Phase::kJudge;
            if (here.right >= 0) {
                passed += here.below;
                frame.has_passed = true;
                open.push_back({here.right, &here.right, Phase::kLeft, false});
            }
        } else {
            if (frame.has_passed) passed -= here.below;
            int32_t *const link = frame.link;
            open.pop_back();
            if (!is_bad) continue;
            const Variance left = here.below + passed;
            const double merit = reduction.of(left, reduction.before() - left);
            is_bad = merit / best_merit < ratio_min;
            if (is_bad) {
                *link = kNone;
                has_changed = true;
            }
        }
    }
    if (!has_changed) return;
    if (root < 0) items_.clear();
    order();
}

void ValueTree::order() {
    struct Place {
        int32_t from;
        int32_t parent;
        bool is_left;
    };
    std::vector<Item> ordered;
    ordered.reserve(items_.size());
    std::vector<Place> open;
    if (!items_.empty()) open.push_back({0, kNone, false});
    while (!open.empty()) {
        const Place place = open.back();
        open.pop_back();
        const auto at = static_cast<int32_t>(ordered.size());
        const Item &here = item(place.from);
        if (place.parent >= 0) {
            Item &parent = ordered[static_cast<size_t>(place.parent)];
            (place.is_left ? parent.left : parent.right) = at;
        }
        if (here.right >= 0) open.push_back({here.right, at, false});
        if (here.left >= 0) open.push_back({here.left, at, true});
        ordered.push_back({here.value, here.below, kNone, kNone});
    }
    items_ = std::move(ordered);
}

}  // namespace driftline
