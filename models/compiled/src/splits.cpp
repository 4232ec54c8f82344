#include "splits.hpp"

#include <algorithm>
#include <cmath>

#include "numbers.hpp"

namespace driftline {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Shares = std::vector<Share>;
using Counts = NominalObserver::ClassCounts;

double entropy(const Shares &shares) {
    double negative = 0.0, total = 0.0;
    for (const Share &share : shares) {
        if (share.weight <= 0.0) continue;
        negative -= share.weight * std::log2(share.weight);
        total += share.weight;
    }
    return total > 0.0 ? (negative + total * std::log2(total)) / total : 0.0;
}

// Each class's part below a threshold, from its Gaussian.
class BinarySplitter {
   public:
    // For the observer of a leaf; used for one after the other, it takes its memory once.
    void open(const Leaf &leaf, size_t observer) {
        leaf.gaussians(observer, gaussians_);
        sigmas_.clear();
        for (const ClassGaussian &g : gaussians_) {
            const double variance = g.n > 1.0 ? g.s / (g.n - 1.0) : 0.0;
            sigmas_.push_back(variance > 0.0 ? python_sqrt(variance) : 0.0);
        }
    }

    const std::vector<ClassGaussian> &gaussians() const { return gaussians_; }

    void split(double threshold, Shares &left, Shares &right) const {
        left.clear();
        right.clear();
        for (size_t i = 0; i < gaussians_.size(); i++) {
            const ClassGaussian &g = gaussians_[i];
            if (threshold < g.min) {
                right.push_back({g.cls, g.n});
            } else if (threshold >= g.max) {
                left.push_back({g.cls, g.n});
            } else {
                const double below = cumulative(i, threshold) * g.n;
                left.push_back({g.cls, below});
                right.push_back({g.cls, g.n - below});
            }
        }
    }

   private:
    double cumulative(size_t i, double threshold) const {
        if (sigmas_[i] == 0.0) return 0.0;
        const double z = (threshold - gaussians_[i].mean) / sigmas_[i];
        return 0.5 * (1.0 + std::erf(z / kSqrtTwo));
    }

    static const double kSqrtTwo;
    std::vector<ClassGaussian> gaussians_;
    std::vector<double> sigmas_;
};

const double BinarySplitter::kSqrtTwo = std::sqrt(2.0);

// What a search takes memory for: both branches, and what splits an observer's classes.
struct Search {
    BinarySplitter splitter;
    std::vector<Shares> after{2};
};

void suggest_numeric(const Leaf &leaf, size_t observer, const TreeRules &rules, Merit &merit,
                     Search &search, Suggestion &best) {
    search.splitter.open(leaf, observer);
    double low = kInfinity, high = -kInfinity;
    for (const ClassGaussian &g : search.splitter.gaussians()) {
        low = std::min(low, g.min);
        high = std::max(high, g.max);
    }
    if (!(low < kInfinity)) return;
    const double bin = (high - low) / (rules.n_splits + 1.0);
    for (int32_t i = 1; i <= rules.n_splits; i++) {
        const double threshold = low + bin * i;
        if (!(low < threshold && threshold < high)) continue;
        search.splitter.split(threshold, search.after[0], search.after[1]);
        const double found = merit.of(search.after);
        if (found > best.merit) {
            best = {found, SplitKind::kNumericBinary, leaf.feature(observer), threshold};
        }
    }
}

// The weight of all other categories, summed as River sums it.
double rest(const Counts &counts, size_t slot) {
    if (counts.whole) return counts.sum - counts.weight(slot);
    double total = 0.0;
    for (const int32_t other : counts.order) {
        const auto at = static_cast<size_t>(other);
        if (at != slot) total += counts.weights[at];
    }
    return total;
}

void split_off(const NominalObserver &nominal, size_t slot, Shares &equal, Shares &other) {
    equal.clear();
    other.clear();
    for (const Counts &counts : nominal.classes()) {
        const double weight = counts.weight(slot);
        if (weight > 0.0) equal.push_back({counts.cls, weight});
        if (counts.order.size() > (weight > 0.0 ? 1U : 0U)) {
            other.push_back({counts.cls, rest(counts, slot)});
        }
    }
}

// A branch for each category, in sorted order; classes in sorted order in each.
Children split_by_category(const NominalObserver &nominal, const Feature &feature,
                           const Schema &schema) {
    Children children;
    const std::vector<int32_t> &codes = nominal.categories();
    std::vector<size_t> slots(codes.size());
    for (size_t slot = 0; slot < slots.size(); slot++) slots[slot] = slot;
    const auto name = [&](size_t slot) -> const Name & {
        return feature.categories[static_cast<size_t>(codes[slot])];
    };
    std::sort(slots.begin(), slots.end(),
              [&](size_t a, size_t b) { return name(a) < name(b); });
    std::vector<const Counts *> classes;
    for (const Counts &counts : nominal.classes()) classes.push_back(&counts);
    std::sort(classes.begin(), classes.end(), [&](const Counts *a, const Counts *b) {
        return schema.class_rank[static_cast<size_t>(a->cls)] <
               schema.class_rank[static_cast<size_t>(b->cls)];
    });
    for (const size_t slot : slots) {
        children.categories.push_back(codes[slot]);
        children.shares.emplace_back();
        for (const Counts *counts : classes) {
            const double weight = counts->weight(slot);
            if (weight > 0.0) children.shares.back().push_back({counts->cls, weight});
        }
    }
    return children;
}

void suggest_nominal(const Leaf &leaf, size_t observer, const TreeRules &rules,
                     const Schema &schema, Merit &merit, Search &search, Suggestion &best) {
    const NominalObserver &nominal = *leaf.nominal(observer);
    const int32_t id = leaf.feature(observer);
    const Feature &feature = schema.features[static_cast<size_t>(id)];
    if (!rules.binary_split) {
        const Children children = split_by_category(nominal, feature, schema);
        best = {merit.of(children.shares), SplitKind::kNominalMultiway, id,
                0.0};
    }
    std::vector<int32_t> candidates = nominal.categories();
    order_as_set(candidates, feature.categories);
    std::vector<int32_t> slot_of(feature.categories.size());
    for (size_t slot = 0; slot < nominal.categories().size(); slot++) {
        slot_of[static_cast<size_t>(nominal.categories()[slot])] = static_cast<int32_t>(slot);
    }
    for (const int32_t category : candidates) {
        const int32_t slot = slot_of[static_cast<size_t>(category)];
        split_off(nominal, static_cast<size_t>(slot), search.after[0], search.after[1]);
        const double found = merit.of(search.after);
        if (found > best.merit) {
            best = {found, SplitKind::kNominalBinary, id, static_cast<double>(category)};
        }
    }
}

}  // namespace

Merit::Merit(const TreeRules &rules, const Schema &schema, const Shares &before)
    : rules_(rules), schema_(schema), n_classes_(before.size()) {
    if (rules.criterion == Criterion::kInfoGain) entropy_before_ = entropy(before);
}

double Merit::of(const std::vector<Shares> &after) {
    double total = 0.0;
    weights_.clear();
    for (const Shares &branch : after) {
        weights_.push_back(sum(branch));
        total += weights_.back();
    }
    size_t n_large = 0;
    for (const double weight : weights_) {
        n_large += total > 0.0 && weight / total > rules_.min_branch_fraction;
    }
    if (n_large < 2) return -kInfinity;
    switch (rules_.criterion) {
        case Criterion::kInfoGain:
            return info_gain(after, total);
        case Criterion::kGini:
            return gini(after, total);
        case Criterion::kHellinger:
            break;
    }
    return hellinger(after);
}

double Merit::range() const {
    if (rules_.criterion == Criterion::kGini) return 1.0;
    return std::log2(static_cast<double>(std::max<size_t>(n_classes_, 2)));
}

double Merit::info_gain(const std::vector<Shares> &after, double total) const {
    double weighted = 0.0;
    for (size_t i = 0; i < after.size(); i++) weighted += weights_[i] * entropy(after[i]);
    return entropy_before_ - weighted / total;
}

double Merit::gini(const std::vector<Shares> &after, double total) const {
    double impurity = 0.0;
    for (size_t i = 0; i < after.size(); i++) {
        const double weight = weights_[i];
        double of_branch = 1.0;
        if (weight != 0.0) {
            for (const Share &share : after[i]) {
                const double frequency = share.weight / weight;
                of_branch -= frequency * frequency;
            }
        }
        impurity += (weight / total) * of_branch;
    }
    return 1.0 - impurity;
}

// Of the classes 0 and 1 in the first two branches. Where River would divide by zero, because a
// class has no weight at all, the split is as worthless as where the class is not there.
double Merit::hellinger(const std::vector<Shares> &after) const {
    const auto find = [&](const Shares &shares, int32_t cls, double &weight) {
        for (const Share &share : shares) {
            if (share.cls == cls) {
                weight = share.weight;
                return true;
            }
        }
        return false;
    };
    double left_one, left_zero, right_one, right_zero;
    if (!find(after[0], schema_.class_one, left_one) ||
        !find(after[0], schema_.class_zero, left_zero) ||
        !find(after[1], schema_.class_one, right_one) ||
        !find(after[1], schema_.class_zero, right_zero)) {
        return 0.0;
    }
    const double zeros = left_zero + right_zero;
    const double ones = left_one + right_one;
    if (zeros == 0.0 || ones == 0.0) return 0.0;
    const double left = std::sqrt(left_zero / zeros) - std::sqrt(left_one / ones);
    const double right = std::sqrt(right_zero / zeros) - std::sqrt(right_one / ones);
    return std::sqrt(python_square(left) + python_square(right));
}

std::vector<Suggestion> suggest_splits(const Leaf &leaf, const TreeRules &rules,
                                       const Schema &schema, Merit &merit) {
    double greatest = 0.0;
    for (const Share &share : leaf.shares()) greatest = std::max(greatest, share.weight);
    if (greatest / leaf.total_weight() > rules.max_share_to_split) return {Suggestion()};
    std::vector<Suggestion> found;
    if (rules.merit_preprune) found.emplace_back();
    found.reserve(leaf.n_observers() + 1);
    Search search;
    for (size_t s = 0; s < leaf.n_observers(); s++) {
        found.emplace_back();
        if (leaf.nominal(s) == nullptr) {
            suggest_numeric(leaf, s, rules, merit, search, found.back());
        } else {
            suggest_nominal(leaf, s, rules, schema, merit, search, found.back());
        }
    }
    return found;
}

Children children_of(const Leaf &leaf, const Suggestion &split, const Schema &schema) {
    size_t observer = 0;
    while (leaf.feature(observer) != split.feature) observer++;
    if (split.kind == SplitKind::kNominalMultiway) {
        return split_by_category(*leaf.nominal(observer),
                                 schema.features[static_cast<size_t>(split.feature)], schema);
    }
    Children children;
    children.shares.resize(2);
    if (split.kind == SplitKind::kNumericBinary) {
        BinarySplitter splitter;
        splitter.open(leaf, observer);
        splitter.split(split.value, children.shares[0], children.shares[1]);
    } else {
        const NominalObserver &nominal = *leaf.nominal(observer);
        const auto &codes = nominal.categories();
        const auto slot = std::find(codes.begin(), codes.end(), static_cast<int32_t>(split.value));
        split_off(nominal, static_cast<size_t>(slot - codes.begin()), children.shares[0],
                  children.shares[1]);
    }
    return children;
}

}  // namespace driftline
