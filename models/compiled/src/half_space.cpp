#include "half_space.hpp"

#include <algorithm>
#include <cmath>

#include "memory.hpp"

namespace driftline {

namespace {

// How near to a border of its range a split may be, as a part of the range.
constexpr double kPadding = 0.15;
// A count below this part of a window ends the descent: the paper's constant.
constexpr double kFewEvents = 0.1;

}  // namespace

void HalfSpace::plant(const std::vector<int32_t> &sorted) {
    Random from = random;
    const size_t n_nodes = 2 * n_splits() + 1;
    trees_.resize(static_cast<size_t>(rules.n_trees));
    for (Tree &tree : trees_) {
        tree.splits.resize(n_splits());
        tree.latest.assign(n_nodes, 0);
        tree.reference.assign(n_nodes, 0);
        std::vector<Limits> within = limits;
        draw(tree, 0, rules.height, sorted, within, from);
    }
}

// River's make_padded_tree: a feature by the width of its range, a place within it, then each side.
void HalfSpace::draw(Tree &tree, size_t node, int height, const std::vector<int32_t> &sorted,
                     std::vector<Limits> &within, Random &from) const {
    if (height == 0) return;
    std::vector<double> up_to;
    double total = 0.0;
    for (const int32_t feature : sorted) {
        const Limits &range = within[static_cast<size_t>(feature)];
        total += range.high - range.low;
        up_to.push_back(total);
    }
    // random.choices: bisect to the right, the last item for what is beyond.
    const auto found = std::upper_bound(up_to.begin(), up_to.end() - 1, from.random() * total);
    const int32_t feature = sorted[static_cast<size_t>(found - up_to.begin())];
    const auto at = static_cast<size_t>(feature);
    const Limits range = within[at];
    const double low = range.low + kPadding * (range.high - range.low);
    const double high = range.high - kPadding * (range.high - range.low);
    const double threshold = low + (high - low) * from.random();
    tree.splits[node] = {feature, threshold};
    within[at] = {range.low, threshold};
    draw(tree, 2 * node + 1, height - 1, sorted, within, from);
    within[at] = {threshold, range.high};
    draw(tree, 2 * node + 2, height - 1, sorted, within, from);
    within[at] = range;
}

// Where a feature is missing, to the side that more events of this window went to.
size_t HalfSpace::step(const Tree &tree, size_t node, const double *values) const {
    const Split &split = tree.splits[node];
    const double value = values[split.feature];
    const size_t left = 2 * node + 1, right = left + 1;
    if (std::isnan(value)) return tree.latest[left] < tree.latest[right] ? right : left;
    return value < split.threshold ? left : right;
}

void HalfSpace::learn(const double *values) {
    for (Tree &tree : trees_) {
        size_t node = 0;
        for (int32_t i = 0; i < rules.height; i++) {
            tree.latest[node]++;
            node = step(tree, node, values);
        }
        tree.latest[node]++;
    }
    if (++n_in_window_ == rules.window_size) begin_window();
}

double HalfSpace::score(const double *values) const {
    if (is_first_window_) return 0.0;
    const double few = kFewEvents * rules.window_size;
    double score = 0.0;
    for (const Tree &tree : trees_) {
        size_t node = 0;
        double of_tree = 0.0, weight = 1.0;
        for (int32_t depth = 0; depth <= rules.height; depth++, weight *= 2.0) {
            const double mass = tree.reference[node];
            of_tree += mass * weight;
            if (depth == rules.height || mass < few) break;
            node = step(tree, node, values);
        }
        score += of_tree;
    }
    const double greatest = static_cast<double>(rules.n_trees) * rules.window_size *
                            static_cast<double>(2 * n_splits() + 1);
    return 1.0 - score / greatest;
}

size_t HalfSpace::bytes() const {
    const size_t n_nodes = 2 * n_splits() + 1;
    return sizeof *this + bytes_of(limits) +
           trees_.size() * (sizeof(Tree) + n_splits() * sizeof(Split) +
                            2 * n_nodes * sizeof(int32_t));
}

void HalfSpace::add_up(std::vector<int32_t> &masses) const {
    for (size_t node = n_splits(); node-- > 0;) {
        masses[node] = masses[2 * node + 1] + masses[2 * node + 2];
    }
}

void HalfSpace::begin_window() {
    for (Tree &tree : trees_) {
        std::swap(tree.latest, tree.reference);
        std::fill(tree.latest.begin(), tree.latest.end(), 0);
    }
    n_in_window_ = 0;
    is_first_window_ = false;
}

}  // namespace driftline
