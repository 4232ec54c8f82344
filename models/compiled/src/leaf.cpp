#include "leaf.hpp"

#include <algorithm>

#include "memory.hpp"

namespace driftline {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kNone = std::numeric_limits<size_t>::max();

// exp(0) is 1 exactly, and log(1) is 0: neither needs a call.
double exp_of(double x) { return x == 0.0 ? 1.0 : std::exp(x); }

// The greatest term's exp is 1. Of two that is known without a branch that would often go the other
// way.
double log_sum_exp(const std::vector<double> &terms) {
    double greatest = -kInfinity, sum = 0.0;
    for (const double term : terms) greatest = std::max(greatest, term);
    if (terms.size() == 2 && terms[0] != terms[1]) {
        sum = 1.0 + std::exp(std::min(terms[0], terms[1]) - greatest);
    } else {
        for (const double term : terms) sum += term == greatest ? 1.0 : std::exp(term - greatest);
    }
    return sum == 1.0 ? greatest : greatest + std::log(sum);
}

double sigmoid(double logit) { return 1.0 / (1.0 + std::exp(-logit)); }

}  // namespace

double sum(const std::vector<Share> &shares) {
    double total = 0.0;
    for (const Share &share : shares) total += share.weight;
    return total;
}

std::vector<int32_t> sample_features(const Row &row, int32_t n, const Schema &schema,
                                     Random &random) {
    std::vector<int32_t> sorted(row.features, row.features + row.size);
    std::sort(sorted.begin(), sorted.end(), [&](int32_t a, int32_t b) {
        return schema.feature_rank[static_cast<size_t>(a)] <
               schema.feature_rank[static_cast<size_t>(b)];
    });
    return row.size >= n ? random.sample(sorted, n) : sorted;
}

Leaf::Leaf(std::vector<Share> shares, int32_t depth_of_leaf)
    : depth(depth_of_leaf), shares_(std::move(shares)) {
    last_split_attempt_at = total_weight();
}

void Leaf::majority(std::vector<double> &votes) const {
    const double total = total_weight();
    const double scale = total == 0.0 ? 1.0 : 1.0 / total;
    votes.resize(shares_.size());
    for (size_t c = 0; c < shares_.size(); c++) votes[c] = shares_[c].weight * scale;
}

bool Leaf::naive_bayes(const Row &row, std::vector<double> &votes, Scratch &scratch) const {
    const size_t n_votes = shares_.size(), n = features_.size();
    votes.resize(n_votes);
    const double total = total_weight();
    if (total == 0.0) return false;
    const double *x = values_of(row, scratch);
    double *vote = votes.data();
    for (size_t c = 0; c < n_votes; c++) {
        vote[c] = 0.0;
        if (shares_[c].weight <= 0.0) continue;
        vote[c] = std::log(shares_[c].weight / total);
        log_likelihoods(c, x, scratch);
        const double *terms = scratch.terms.data();
        for (size_t s = 0; s < n; s++) vote[c] += terms[s];
    }
    const double log_evidence = log_sum_exp(votes);
    for (size_t c = 0; c < n_votes; c++) vote[c] = exp_of(vote[c] - log_evidence);
    return true;
}

const double *Leaf::values_of(const Row &row, Scratch &scratch) const {
    if (is_in_order_) return row.values;
    scratch.values.resize(features_.size());
    for (size_t s = 0; s < features_.size(); s++) scratch.values[s] = row[features_[s]];
    return scratch.values.data();
}

void Leaf::log_likelihoods(size_t share, const double *x, Scratch &scratch) const {
    const size_t n = features_.size();
    scratch.terms.resize(n);
    double *terms = scratch.terms.data();
    const Block *block = n > n_nominals_ ? find_block(share) : nullptr;
    if (block != nullptr) {
        log_densities(x, column(*block, kMean), column(*block, kNegTwoVariance),
                      column(*block, kHalfLogVariance), terms, n);
    } else {
        std::fill_n(terms, n, 0.0);
    }
    for (size_t s = 0; s < n && n_nominals_ > 0; s++) {
        if (nominals_[s] == nullptr || x[s] != x[s]) continue;
        terms[s] = nominals_[s]->log_probability(static_cast<int32_t>(x[s]), shares_[share].cls);
    }
}

void Leaf::attribute(const Row &row, int32_t cls, double times, std::vector<double> &contributions,
                     Scratch &scratch) const {
    if (shares_.size() != 2) return;
    const size_t mine = shares_[0].cls == cls ? 0 : 1, other = 1 - mine;
    const double weight = shares_[mine].weight, against = shares_[other].weight;
    if (shares_[mine].cls != cls || !(weight > 0.0 && against > 0.0)) return;
    const size_t n = features_.size();
    const double *x = values_of(row, scratch);
    log_likelihoods(other, x, scratch);
    std::swap(scratch.terms, scratch.others);
    log_likelihoods(mine, x, scratch);
    std::vector<double> &ratio = scratch.terms;
    double pro = 0.0, contra = 0.0;
    for (size_t s = 0; s < n; s++) {
        ratio[s] -= scratch.others[s];
        (ratio[s] > 0.0 ? pro : contra) += ratio[s];
    }
    if (!std::isfinite(pro) || !std::isfinite(contra)) return;
    const double prior = std::log(weight / against);
    const double before = sigmoid(prior), after = sigmoid(prior + (pro + contra));
    const double up = sigmoid(prior + pro), down = sigmoid(prior + contra);
    // Each player comes first in one of the two orders.
    const double gain = times * 0.5 * ((up - before) + (after - down));
    const double loss = times * 0.5 * ((down - before) + (after - up));
    for (size_t s = 0; s < n; s++) {
        double &contribution = contributions[static_cast<size_t>(features_[s])];
        if (ratio[s] > 0.0) contribution += gain * (ratio[s] / pro);
        if (ratio[s] < 0.0) contribution += loss * (ratio[s] / contra);
    }
}

int32_t Leaf::first_greatest(const std::vector<double> &votes) {
    if (votes.empty()) return -1;
    return static_cast<int32_t>(std::max_element(votes.begin(), votes.end()) - votes.begin());
}

double Leaf::promise() const {
    double total = 0.0, greatest = 0.0;
    for (const Share &share : shares_) {
        total += share.weight;
        greatest = std::max(greatest, share.weight);
    }
    return total > 0.0 ? total - greatest : 0.0;
}

bool Leaf::is_pure() const {
    size_t n = 0;
    for (const Share &share : shares_) n += share.weight != 0.0;
    return n < 2;
}

void Leaf::touch(const Row &row) {
    if (!active_ || n_nominals_ == 0) return;
    for (size_t s = 0; s < features_.size(); s++) {
        NominalObserver *nominal = nominals_[s].get();
        if (nominal == nullptr || nominal->n_touched() == shares_.size()) continue;
        if (!row.has(features_[s])) continue;
        for (const Share &share : shares_) {
            if (share.weight > 0.0) nominal->touch(share.cls);
            has_grown_ = true;
        }
    }
}

void Leaf::learn(const Row &row, int32_t cls, double weight, const TreeRules &rules,
                 const Schema &schema, Random &random, Scratch &scratch) {
    const auto known = std::find_if(shares_.begin(), shares_.end(),
                                    [cls](const Share &share) { return share.cls == cls; });
    if (known != shares_.end()) {
        known->weight += weight;
    } else {
        shares_.push_back({cls, weight});
        has_grown_ = true;
    }
    if (!active_) return;
    const int32_t *features = row.features;
    auto n = static_cast<size_t>(row.size);
    if (rules.max_features >= 0) {
        if (sampled_.empty()) {
            sampled_ = sample_features(row, rules.max_features, schema, random);
            has_grown_ = true;
        }
        features = sampled_.data();
        n = sampled_.size();
    }
    if (!watches(row, features, n) || !learn_all(row, cls, weight, scratch)) {
        learn_each(features, n, row, cls, weight, schema);
    }
    n_learned_ += 1.0;
}

// Whether there is an observer for each of these features of the row, in their order.
bool Leaf::watches(const Row &row, const int32_t *features, size_t n) const {
    if (features_.size() != n) return false;
    if (is_in_order_ && row.is_whole && features == row.features) return true;
    return std::equal(features, features + n, features_.begin());
}

// A value for each observer, as nearly all events bring; false, with nothing learned, where one is
// missing.
bool Leaf::learn_all(const Row &row, int32_t cls, double weight, Scratch &scratch) {
    const size_t n = features_.size();
    const double *x = values_of(row, scratch);
    bool are_there = true;
    for (size_t s = 0; s < n && !row.is_whole; s++) are_there &= x[s] == x[s];
    for (size_t s = 0; s < n && n_nominals_ > 0; s++) {
        are_there &= nominals_[s] == nullptr || x[s] >= 0.0;
    }
    if (!are_there) return false;
    if (n_nominals_ > 0) {
        scratch.values.resize(n);
        for (size_t s = 0; s < n; s++) {
            scratch.values[s] = x[s];
            if (nominals_[s] == nullptr) continue;
            has_grown_ |= nominals_[s]->update(static_cast<int32_t>(x[s]), cls, weight);
            scratch.values[s] = 0.0;  // Its cells say nothing, whatever happens to them.
        }
        if (n == n_nominals_) return true;
        x = scratch.values.data();
    }
    Block &block = block_of(cls);
    learn_gaussians(columns(block, 0), x, weight, n_learned_, block.are_born, n);
    block.are_born = true;
    return true;
}

// The same for any event: one that lacks features, or brings new ones.
void Leaf::learn_each(const int32_t *features, size_t n, const Row &row, int32_t cls, double weight,
                      const Schema &schema) {
    if (features_.size() < n) widen(n);
    size_t guess = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t feature = features[i];
        if (!row.has(feature)) continue;
        const bool is_nominal = schema.features[static_cast<size_t>(feature)].is_nominal();
        // A category that the model has no room for counts as missing.
        if (is_nominal && row[feature] < 0.0) continue;
        size_t s = observer_of(feature, guess);
        if (s == kNone) {
            if (std::find(disabled_.begin(), disabled_.end(), feature) != disabled_.end()) continue;
            s = add_observer(feature, is_nominal);
        }
        guess = s + 1;
        const double value = row[feature];
        if (is_nominal) {
            has_grown_ |= nominals_[s]->update(static_cast<int32_t>(value), cls, weight);
        } else {
            learn_gaussians(columns(block_of(cls), s), &value, weight, n_learned_, false, 1);
        }
    }
}

void Leaf::activate() { active_ = true; }

void Leaf::deactivate() {
    active_ = false;
    has_grown_ = true;
    features_ = {};
    is_in_order_ = true;
    nominals_.clear();
    nominals_.shrink_to_fit();
    n_nominals_ = 0;
    blocks_.clear();
    blocks_.shrink_to_fit();
    width_ = 0;
}

void Leaf::disable(int32_t feature) {
    const size_t s = observer_of(feature, 0);
    if (s == kNone) return;
    disabled_.push_back(feature);
    has_grown_ = true;
    n_nominals_ -= nominals_[s] != nullptr;
    const auto at = static_cast<ptrdiff_t>(s);
    features_.erase(features_.begin() + at);
    find_order();
    nominals_.erase(nominals_.begin() + at);
    for (Block &block : blocks_) {
        for (int c = 0; c < kColumns; c++) {
            double *cells = column(block, static_cast<Column>(c));
            std::copy(cells + s + 1, cells + width_, cells + s);
        }
        clear_cell(block, width_ - 1);
    }
}

void Leaf::gaussians(size_t observer, std::vector<ClassGaussian> &found) const {
    found.clear();
    for (const Block &block : blocks_) {
        const auto cell = [&](Column c) { return column(block, c)[observer]; };
        if (cell(kN) == 0.0) continue;
        found.push_back(
            {block.cls, cell(kBorn), cell(kMean), cell(kN), cell(kS), cell(kMin), cell(kMax)});
    }
    const auto is_older = [](const ClassGaussian &a, const ClassGaussian &b) {
        return a.born < b.born;
    };
    // As blocks mostly are, and a stable sort takes memory even then.
    if (std::is_sorted(found.begin(), found.end(), is_older)) return;
    std::stable_sort(found.begin(), found.end(), is_older);
}

size_t Leaf::bytes() const {
    size_t n = sizeof *this + bytes_of(shares_) + bytes_of(disabled_) + bytes_of(sampled_) +
               bytes_of(blocks_) + width_ * (sizeof(int32_t) + sizeof(nominals_[0]));
    n += blocks_.size() * width_ * kColumns * sizeof(double);
    for (const auto &nominal : nominals_) n += nominal == nullptr ? 0 : nominal->bytes();
    return n;
}

ptrdiff_t Leaf::settle() {
    if (!has_grown_) return 0;
    const size_t now = bytes();
    const auto growth = static_cast<ptrdiff_t>(now) - static_cast<ptrdiff_t>(settled_bytes_);
    settled_bytes_ = now;
    has_grown_ = false;
    return growth;
}

void Leaf::restore(size_t observer, const ClassGaussian &gaussian) {
    if (width_ < features_.size()) widen(features_.size());
    Block &block = block_of(gaussian.cls);
    column(block, kMean)[observer] = gaussian.mean;
    column(block, kN)[observer] = gaussian.n;
    column(block, kS)[observer] = gaussian.s;
    column(block, kMin)[observer] = gaussian.min;
    column(block, kMax)[observer] = gaussian.max;
    column(block, kBorn)[observer] = gaussian.born;
    refresh_gaussians(columns(block, observer), 1);
}

// Events mostly have the same features in the same order, so the next one is the guess.
size_t Leaf::observer_of(int32_t feature, size_t guess) {
    if (guess < features_.size() && features_[guess] == feature) return guess;
    const auto found = std::find(features_.begin(), features_.end(), feature);
    return found == features_.end() ? kNone : static_cast<size_t>(found - features_.begin());
}

size_t Leaf::add_observer(int32_t feature, bool is_nominal) {
    is_in_order_ &= feature == static_cast<int32_t>(features_.size());
    features_.push_back(feature);
    for (Block &block : blocks_) block.are_born = false;
    has_grown_ = true;
    nominals_.push_back(is_nominal ? std::make_unique<NominalObserver>() : nullptr);
    n_nominals_ += is_nominal;
    if (features_.size() > width_) widen(features_.size());
    return features_.size() - 1;
}

Leaf::Block &Leaf::block_of(int32_t cls) {
    for (Block &block : blocks_) {
        if (block.cls == cls) return block;
    }
    blocks_.push_back({cls, false, std::vector<double>(width_ * kColumns)});
    has_grown_ = true;
    for (size_t s = 0; s < width_; s++) clear_cell(blocks_.back(), s);
    return blocks_.back();
}

const Leaf::Block *Leaf::find_block(size_t share) const {
    // Classes mostly came to shares and blocks in the same order.
    const int32_t cls = shares_[share].cls;
    if (share < blocks_.size() && blocks_[share].cls == cls) return &blocks_[share];
    for (const Block &block : blocks_) {
        if (block.cls == cls) return &block;
    }
    return nullptr;
}

void Leaf::find_order() {
    is_in_order_ = true;
    for (size_t s = 0; s < features_.size(); s++) {
        is_in_order_ &= features_[s] == static_cast<int32_t>(s);
    }
}

void Leaf::widen(size_t n_observers) {
    if (n_observers <= width_) return;
    const size_t old_width = width_;
    has_grown_ = true;
    width_ = n_observers;
    features_.reserve(width_);
    nominals_.reserve(width_);
    for (Block &block : blocks_) {
        std::vector<double> old(width_ * kColumns);
        std::swap(old, block.cells);
        for (size_t s = old_width; s < width_; s++) clear_cell(block, s);
        for (size_t c = 0; c < kColumns; c++) {
            std::copy_n(old.data() + c * old_width, old_width, block.cells.data() + c * width_);
        }
    }
}

// A cell that adds exactly nothing to a vote.
void Leaf::clear_cell(Block &block, size_t observer) const {
    for (int c = 0; c < kColumns; c++) column(block, static_cast<Column>(c))[observer] = 0.0;
    column(block, kNegTwoVariance)[observer] = -kInfinity;
    column(block, kHalfLogVariance)[observer] = -kHalfLogTau;
}

GaussianColumns Leaf::columns(Block &block, size_t first) const {
    const auto cells = [&](Column which) { return column(block, which) + first; };
    return {cells(kMean), cells(kNegTwoVariance), cells(kHalfLogVariance), cells(kN),
            cells(kS),    cells(kMin),            cells(kMax),             cells(kBorn)};
}

}  // namespace driftline
