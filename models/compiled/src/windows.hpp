// Features of an entity's past, read off its history's words. What they are, to the last bit, is
// said by models/features: this does the same, faster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace driftline {

// In the order of the Python enumeration.
enum class Stat { kCount, kSum, kMean, kStd, kMin, kMax, kRatio, kDistinct };
constexpr int kNStats = 8;

// A feature's value: a number, true or false, or missing.
struct FeatureValue {
    enum class Kind : uint8_t { kNumber, kBoolean, kMissing } kind;
    double value;
};

// The statistics of one WindowSpec.
struct WindowPlan {
    std::vector<double> windows;
    std::vector<Stat> stats;
    // Columns of the values, if there are any, and of the hashes to tell apart.
    int column = -1, distinct = -1;
    bool current = true, since_last = false, first_seen = false;

    bool is_additive() const;
    bool counts_only() const;
};

struct RiskPlan {
    std::vector<double> windows;
    double delay = 0.0;
};

// All that is computed of one kind of entity.
struct Plan {
    std::vector<WindowPlan> windows;
    std::vector<RiskPlan> risks;
    double horizon = 0.0, lateness = 0.0;
    size_t events_max = 1;
    uint16_t layout = 0;
    // Columns of a history beside times and ids; the first ones are numbers.
    uint16_t n_columns = 0;
    size_t n_values = 0;

    // How many features an event gets.
    size_t width() const;
};

constexpr size_t kWord = 8;

// Where the columns of a history are; see models/features/history.py for the format.
class History {
   public:
    // Of an entity without a past.
    explicit History(const Plan &plan) : n_columns_(plan.n_columns) {}
    // Of bytes that are whole; those of another layout are those of an entity without a past.
    History(const Plan &plan, const char *data);
    // Whether the bytes are as many as their head says.
    static bool is_whole(const char *data, size_t n_bytes);
    // The time of the newest event that bytes of any layout are about.
    static double newest(const char *data);

    size_t n_events() const { return n_events_; }
    size_t n_facts() const { return n_facts_; }
    const double *times() const { return doubles(0); }
    const uint64_t *ids() const { return hashes(1); }
    const double *values(int column) const { return doubles(2 + static_cast<size_t>(column)); }
    const uint64_t *column(int i) const { return hashes(2 + static_cast<size_t>(i)); }
    const double *fact_times() const { return doubles(2 + n_columns_); }
    const uint64_t *fact_marks() const { return hashes(2 + n_columns_) + 2 * n_facts_; }
    // The place of an event; n_events if it is not here.
    size_t find(uint64_t id) const;

   private:
    friend class Insertion;
    // Columns of events are as long as there are events, so facts begin where one more would.
    const double *doubles(size_t column) const {
        return reinterpret_cast<const double *>(words_) + column * n_events_;
    }
    const uint64_t *hashes(size_t column) const {
        return reinterpret_cast<const uint64_t *>(words_) + column * n_events_;
    }

    const char *words_ = nullptr;  // After the head.
    size_t n_columns_;
    size_t n_events_ = 0, n_facts_ = 0;
};

// A history with one event more, and without those up to a time.
class Insertion {
   public:
    Insertion(const Plan &plan, const History &before, double time, double low);
    size_t n_bytes() const;
    // Write it to that many bytes; `words` are the event's, in the order of the columns.
    void write(double time, uint64_t id, const uint64_t *words, char *out) const;
    // Read what was written.
    History written(const char *data) const;
    size_t n_events() const { return before_.n_events() - first_ + 1; }
    // Where the event stands.
    size_t place() const { return place_ - first_; }

   private:
    const Plan &plan_;
    const History &before_;
    size_t place_ = 0, first_ = 0, first_fact_ = 0;
};

// Reads features; keeps its memory between events.
class Reader {
   public:
    explicit Reader(const Plan &plan) : plan_(plan) {}
    // Append the features of the event that stands at `place`. `values` are its own numbers, which
    // a repeated event may have others of than those that are kept.
    void read(const History &history, size_t place, double time, const uint64_t *words,
              std::vector<FeatureValue> &row);

   private:
    void additive(const WindowPlan &plan, const History &history, size_t place, double time,
                  double own, std::vector<FeatureValue> &row);
    void window(const WindowPlan &plan, const History &history, size_t begin, size_t end,
                double own, std::vector<FeatureValue> &row);
    void risk(const RiskPlan &plan, const History &history, double time,
              std::vector<FeatureValue> &row) const;

    const Plan &plan_;
    std::vector<double> squares_, partials_;
    std::vector<uint64_t> different_;
};

// The sum of numbers as if it were rounded once; as math.fsum. None may be beyond 1e300.
double exact_sum(const double *values, size_t n, std::vector<double> &partials);

}  // namespace driftline
