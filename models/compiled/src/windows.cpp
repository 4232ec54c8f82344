#include "windows.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace driftline {

namespace {

struct Head {
    uint16_t n_events, n_facts, n_columns, layout;
};
static_assert(sizeof(Head) == kWord, "a head is a word");

Head head_of(const char *data) {
    Head head;
    std::memcpy(&head, data, sizeof head);
    return head;
}

size_t after(const double *times, size_t n, double time) {
    return static_cast<size_t>(std::upper_bound(times, times + n, time) - times);
}

FeatureValue number(double value) { return {FeatureValue::Kind::kNumber, value}; }
FeatureValue number(size_t count) { return number(static_cast<double>(count)); }
constexpr FeatureValue kMissing = {FeatureValue::Kind::kMissing, 0.0};

FeatureValue ratio(double own, double n, double total) {
    return total != 0.0 ? number(own * n / total) : kMissing;
}

}  // namespace

bool WindowPlan::is_additive() const {
    return current && std::all_of(stats.begin(), stats.end(), [](Stat stat) {
               return stat == Stat::kCount || stat == Stat::kSum || stat == Stat::kMean ||
                      stat == Stat::kRatio;
           });
}

bool WindowPlan::counts_only() const {
    return std::all_of(stats.begin(), stats.end(), [](Stat stat) {
        return stat == Stat::kCount || stat == Stat::kDistinct;
    });
}

size_t Plan::width() const {
    size_t n = 0;
    for (const WindowPlan &spec : windows) {
        n += spec.windows.size() * spec.stats.size() + spec.since_last + spec.first_seen;
    }
    for (const RiskPlan &risk : risks) n += 2 * risk.windows.size();
    return n;
}

History::History(const Plan &plan, const char *data) : n_columns_(plan.n_columns) {
    const Head head = head_of(data);
    if (head.layout != plan.layout || head.n_columns != plan.n_columns) return;
    words_ = data + kWord;
    n_events_ = head.n_events;
    n_facts_ = head.n_facts;
}

bool History::is_whole(const char *data, size_t n_bytes) {
    if (n_bytes < kWord) return false;
    const Head head = head_of(data);
    return n_bytes == kWord * (1 + (2 + size_t{head.n_columns}) * head.n_events +
                               3 * size_t{head.n_facts});
}

double History::newest(const char *data) {
    const Head head = head_of(data);
    double newest = -HUGE_VAL;
    if (head.n_events) std::memcpy(&newest, data + head.n_events * kWord, kWord);
    if (head.n_facts) {
        double fact;
        const size_t last = (2 + size_t{head.n_columns}) * head.n_events + head.n_facts;
        std::memcpy(&fact, data + last * kWord, kWord);
        newest = std::max(newest, fact);
    }
    return newest;
}

size_t History::find(uint64_t id) const {
    const uint64_t *begin = ids();
    return static_cast<size_t>(std::find(begin, begin + n_events_, id) - begin);
}

Insertion::Insertion(const Plan &plan, const History &before, double time, double low)
    : plan_(plan), before_(before) {
    const size_t n = before.n_events();
    const double *times = before.times();
    place_ = after(times, n, time);
    first_ = after(times, n, low);
    if (n + 1 > plan.events_max) first_ = std::max(first_, n + 1 - plan.events_max);
    if (place_ < first_) first_ = place_;  // Older than all that may be kept.
    first_fact_ = after(before.fact_times(), before.n_facts(), low);
}

size_t Insertion::n_bytes() const {
    const size_t n_facts = before_.n_facts() - first_fact_;
    return kWord * (1 + (2 + size_t{plan_.n_columns}) * n_events() + 3 * n_facts);
}

void Insertion::write(double time, uint64_t id, const uint64_t *words, char *out) const {
    const size_t n = before_.n_events(), n_facts = before_.n_facts();
    // An event that is too old to be kept may be one more than a head can count; none reads it.
    const Head head = {static_cast<uint16_t>(n_events()),
                       static_cast<uint16_t>(n_facts - first_fact_), plan_.n_columns,
                       plan_.layout};
    const auto put = [&out](const void *from, size_t n_words) {
        if (n_words == 0) return;
        std::memcpy(out, from, n_words * kWord);
        out += n_words * kWord;
    };
    put(&head, 1);
    for (size_t column = 0; column < size_t{2} + plan_.n_columns; column++) {
        const uint64_t *old = before_.hashes(column);
        put(old + first_, place_ - first_);
        if (column == 0) {
            put(&time, 1);
        } else {
            put(column == 1 ? &id : words + column - 2, 1);
        }
        put(old + place_, n - place_);
    }
    const uint64_t *facts = before_.hashes(size_t{2} + plan_.n_columns);
    for (int i = 0; i < 3; i++, facts += n_facts) {
        put(facts + first_fact_, n_facts - first_fact_);
    }
}

History Insertion::written(const char *data) const {
    History history(plan_);
    history.words_ = data + kWord;
    history.n_events_ = n_events();
    history.n_facts_ = before_.n_facts() - first_fact_;
    return history;
}

void Reader::read(const History &history, size_t place, double time, const uint64_t *words,
                  std::vector<FeatureValue> &row) {
    for (const WindowPlan &plan : plan_.windows) {
        double own = 0.0;
        if (plan.column >= 0) std::memcpy(&own, words + plan.column, sizeof own);
        if (own == 0.0) own = 0.0;  // And not -0.0.
        if (plan.is_additive()) {
            additive(plan, history, place, time, own, row);
        } else {
            const size_t end = place + (plan.current ? 1 : 0);
            for (const double window_s : plan.windows) {
                window(plan, history, after(history.times(), end, time - window_s), end, own, row);
            }
        }
        if (plan.since_last) {
            row.push_back(place > 0 ? number(time - history.times()[place - 1]) : kMissing);
        }
        if (plan.first_seen) row.push_back({FeatureValue::Kind::kBoolean, place == 0 ? 1.0 : 0.0});
    }
    for (const RiskPlan &plan : plan_.risks) risk(plan, history, time, row);
}

// Sums begin with the event and go back in time, window by window: so each event is added once, and
// always in this order.
void Reader::additive(const WindowPlan &plan, const History &history, size_t place, double time,
                      double own, std::vector<FeatureValue> &row) {
    const double *values = plan.column >= 0 ? history.values(plan.column) : nullptr;
    const bool counts_only = plan.counts_only();
    double total = own;
    size_t summed_from = place;
    for (const double window_s : plan.windows) {
        const size_t begin = after(history.times(), place, time - window_s);
        if (!counts_only) {
            if (begin > summed_from) {  // Windows in no order.
                total = own;
                summed_from = place;
            }
            double sum = 0.0;
            for (size_t i = begin; i < summed_from; i++) sum += values[i];
            total += sum;
            summed_from = begin;
        }
        const double count = static_cast<double>(place - begin + 1);
        for (const Stat stat : plan.stats) {
            if (stat == Stat::kCount) {
                row.push_back(number(count));
            } else if (stat == Stat::kMean) {
                row.push_back(number(total / count));
            } else if (stat == Stat::kSum) {
                row.push_back(number(total));
            } else {
                row.push_back(ratio(own, count, total));
            }
        }
    }
}

void Reader::window(const WindowPlan &plan, const History &history, size_t begin, size_t end,
                    double own, std::vector<FeatureValue> &row) {
    const size_t n = end - begin;
    const bool has_values = !plan.counts_only();
    const double *values = has_values ? history.values(plan.column) + begin : nullptr;
    const double total = has_values ? exact_sum(values, n, partials_) : 0.0;
    const double count = static_cast<double>(n);
    for (const Stat stat : plan.stats) {
        switch (stat) {
            case Stat::kCount: row.push_back(number(count)); break;
            case Stat::kSum: row.push_back(number(total)); break;
            case Stat::kMean: row.push_back(n ? number(total / count) : kMissing); break;
            case Stat::kMin:
                row.push_back(n ? number(*std::min_element(values, values + n)) : kMissing);
                break;
            case Stat::kMax:
                row.push_back(n ? number(*std::max_element(values, values + n)) : kMissing);
                break;
            case Stat::kRatio: row.push_back(ratio(own, count, total)); break;
            case Stat::kStd: {
                squares_.clear();
                for (size_t i = 0; i < n; i++) {
                    const double off = values[i] - total / count;
                    squares_.push_back(off * off);
                }
                const double sum = exact_sum(squares_.data(), n, partials_);
                row.push_back(number(n > 1 ? std::sqrt(sum / static_cast<double>(n - 1)) : 0.0));
                break;
            }
            case Stat::kDistinct: {
                const uint64_t *hashes = history.column(plan.distinct);
                different_.assign(hashes + begin, hashes + end);
                std::sort(different_.begin(), different_.end());
                row.push_back(number(static_cast<size_t>(
                    std::unique(different_.begin(), different_.end()) - different_.begin())));
                break;
            }
        }
    }
}

void Reader::risk(const RiskPlan &plan, const History &history, double time,
                  std::vector<FeatureValue> &row) const {
    const double end = time - plan.delay;
    const double *times = history.times(), *fact_times = history.fact_times();
    const size_t n_end = after(times, history.n_events(), end);
    const size_t facts_end = after(fact_times, history.n_facts(), end);
    for (const double window_s : plan.windows) {
        const size_t n = n_end - after(times, n_end, end - window_s);
        size_t n_positive = 0;
        for (size_t i = after(fact_times, facts_end, end - window_s); i < facts_end; i++) {
            n_positive += history.fact_marks()[i] & 1;
        }
        const double count = static_cast<double>(n);
        row.push_back(number(count));
        row.push_back(number(n ? static_cast<double>(n_positive) / count : 0.0));
    }
}

// Shewchuk's: partial sums that do not overlap hold the sum exactly. See CPython's math.fsum.
double exact_sum(const double *values, size_t n, std::vector<double> &partials) {
    partials.clear();
    for (size_t k = 0; k < n; k++) {
        double x = values[k];
        size_t kept = 0;
        for (double y : partials) {
            if (std::fabs(x) < std::fabs(y)) std::swap(x, y);
            const double high = x + y, low = y - (high - x);
            if (low != 0.0) partials[kept++] = low;
            x = high;
        }
        partials.resize(kept);
        if (x != 0.0) partials.push_back(x);
    }
    if (partials.empty()) return 0.0;
    size_t i = partials.size() - 1;
    double high = partials[i], low = 0.0;
    while (i > 0) {
        const double x = high, y = partials[--i];
        high = x + y;
        low = y - (high - x);
        if (low != 0.0) break;
    }
    // Half-way between two floats, what is below decides.
    if (i > 0 && ((low < 0.0 && partials[i - 1] < 0.0) || (low > 0.0 && partials[i - 1] > 0.0))) {
        const double y = low * 2.0, x = high + y;
        if (y == x - high) high = x;
    }
    return high;
}

}  // namespace driftline
