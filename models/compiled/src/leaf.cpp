#include "leaf.hpp"

#include <algorithm>

#include "memory.hpp"

namespace driftline {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kNone = std::numeric_limits<size_t>::max();

// 0.5 * math.log(math.tau)
const double kHalfLogTau = 0.5 * std::log(6.283185307179586);

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
    votes.clear();
    for (const Share &share : shares_) votes.push_back(share.weight * scale);
}

bool Leaf::naive_bayes(const Row &row, std::vector<double> &votes, Scratch &scratch) const {
    votes.clear();
    const double total = total_weight();
    if (total == 0.0) return false;
    const size_t n = features_.size();
    std::vector<double> &x = scratch.values;
    x.resize(n);
    for (size_t s = 0; s < n; s++) x[s] = row[features_[s]];
    double greatest = -kInfinity;
    for (size_t c = 0; c < shares_.size(); c++) {
        if (shares_[c].weight <= 0.0) {
            votes.push_back(0.0);
            greatest = std::max(greatest, 0.0);
            continue;
        }
        double vote = std::log(shares_[c].weight / total);
        log_likelihoods(c, scratch);
        for (size_t s = 0; s < n; s++) vote += scratch.terms[s];
        votes.push_back(vote);
        greatest = std::max(greatest, vote);
    }
    double evidence = 0.0;
    // exp(0) is 1 exactly, so the greatest needs no call.
    for (const double vote : votes) evidence += vote == greatest ? 1.0 : std::exp(vote - greatest);
    const double log_evidence = greatest + std::log(evidence);
    for (double &vote : votes) vote = std::exp(vote - log_evidence);
    return true;
}

void Leaf::log_likelihoods(size_t share, Scratch &scratch) const {
    const std::vector<double> &x = scratch.values;
    const size_t n = x.size();
    std::vector<double> &term = scratch.terms;
    term.resize(n);
    if (const Block *block = find_block(share)) {
        const double *mean = column(*block, kMean);
        const double *neg_two_variance = column(*block, kNegTwoVariance);
        const double *half_log_variance = column(*block, kHalfLogVariance);
        for (size_t s = 0; s < n; s++) {
            const double d = x[s] - mean[s];
            const double t = d * d / neg_two_variance[s] - kHalfLogTau - half_log_variance[s];
            term[s] = t == t ? t : 0.0;  // NaN: the event lacks the feature.
        }
    } else {
        std::fill(term.begin(), term.end(), 0.0);
    }
    if (n_nominals_ > 0) {
        for (size_t s = 0; s < n; s++) {
            if (nominals_[s] == nullptr || x[s] != x[s]) continue;
            term[s] = nominals_[s]->log_probability(static_cast<int32_t>(x[s]),
                                                    shares_[share].cls);
        }
    }
}

void Leaf::attribute(const Row &row, int32_t cls, double times, std::vector<double> &contributions,
                     Scratch &scratch) const {
    if (shares_.size() != 2) return;
    const size_t mine = shares_[0].cls == cls ? 0 : 1, other = 1 - mine;
    const double weight = shares_[mine].weight, against = shares_[other].weight;
    if (shares_[mine].cls != cls || !(weight > 0.0 && against > 0.0)) return;
    const size_t n = features_.size();
    scratch.values.resize(n);
    for (size_t s = 0; s < n; s++) scratch.values[s] = row[features_[s]];
    log_likelihoods(other, scratch);
    std::swap(scratch.terms, scratch.others);
    log_likelihoods(mine, scratch);
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
    bool is_usual = watches(features, n);
    if (is_usual) {
        std::vector<double> &x = scratch.values;
        x.resize(n);
        for (size_t s = 0; s < n; s++) x[s] = row[features[s]];
        for (size_t s = 0; s < n; s++) is_usual &= x[s] == x[s] && (nominals_[s] == nullptr ||
                                                                    x[s] >= 0.0);
        if (is_usual) {
            for (size_t s = 0; s < n && n_nominals_ > 0; s++) {
                if (nominals_[s] == nullptr) continue;
                has_grown_ |= nominals_[s]->update(static_cast<int32_t>(x[s]), cls, weight);
                x[s] = 0.0;  // Its cells say nothing, whatever happens to them.
            }
            if (n > n_nominals_) update_gaussians(block_of(cls), 0, n, x.data(), weight);
        }
    }
    if (!is_usual) learn_each(features, n, row, cls, weight, schema);
    n_learned_ += 1.0;
}

// Whether there is an observer for each of these features, in their order.
bool Leaf::watches(const int32_t *features, size_t n) const {
    return features_.size() == n && std::equal(features, features + n, features_.begin());
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
            update_gaussians(block_of(cls), s, s + 1, &value, weight);
        }
    }
}

void Leaf::activate() { active_ = true; }

void Leaf::deactivate() {
    active_ = false;
    has_grown_ = true;
    features_ = {};
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
    std::stable_sort(found.begin(), found.end(),
                     [](const ClassGaussian &a, const ClassGaussian &b) { return a.born < b.born; });
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
    refresh(block, observer, observer + 1);
}

// Events mostly have the same features in the same order, so the next one is the guess.
size_t Leaf::observer_of(int32_t feature, size_t guess) {
    if (guess < features_.size() && features_[guess] == feature) return guess;
    const auto found = std::find(features_.begin(), features_.end(), feature);
    return found == features_.end() ? kNone : static_cast<size_t>(found - features_.begin());
}

size_t Leaf::add_observer(int32_t feature, bool is_nominal) {
    features_.push_back(feature);
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
    blocks_.push_back({cls, std::vector<double>(width_ * kColumns)});
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

// For the observers from `first` to before `last`. Written so that it can be done for several at
// once: without branches, and the logarithms apart.
void Leaf::update_gaussians(Block &block, size_t first, size_t last, const double *values,
                            double weight) {
    double *__restrict mean = column(block, kMean);
    double *__restrict n = column(block, kN);
    double *__restrict squares = column(block, kS);
    double *__restrict low = column(block, kMin);
    double *__restrict high = column(block, kMax);
    double *__restrict born = column(block, kBorn);
    const double now = n_learned_;
    for (size_t s = first; s < last; s++) {
        const double value = values[s - first];
        const bool is_new = n[s] == 0.0;
        low[s] = is_new || value < low[s] ? value : low[s];
        high[s] = is_new || value > high[s] ? value : high[s];
        born[s] = is_new ? now : born[s];
        const double old_mean = mean[s];
        n[s] += weight;
        mean[s] += (weight / n[s]) * (value - old_mean);
        squares[s] += weight * (value - old_mean) * (value - mean[s]);
    }
    refresh(block, first, last);
}

// What naive Bayes reads: twice the variance, negative, and half of its logarithm.
void Leaf::refresh(Block &block, size_t first, size_t last) const {
    const double *__restrict n = column(block, kN);
    const double *__restrict squares = column(block, kS);
    double *__restrict neg_two_variance = column(block, kNegTwoVariance);
    double *__restrict half_log_variance = column(block, kHalfLogVariance);
    for (size_t s = first; s < last; s++) {
        const double variance = squares[s] / (n[s] - 1.0);
        const bool is_known = n[s] > 1.0 && variance > 0.0;
        neg_two_variance[s] = is_known ? -2.0 * variance : -kInfinity;
        half_log_variance[s] = is_known ? variance : 0.0;
    }
    for (size_t s = first; s < last; s++) {
        const double variance = half_log_variance[s];
        half_log_variance[s] = variance > 0.0 ? 0.5 * std::log(variance) : -kHalfLogTau;
    }
}

}  // namespace driftline
