// ADWIN, a window that shrinks when its mean changes; every operation in River's order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace driftline {

struct AdwinRules {
    double delta = 0.002;
    int32_t clock = 32;
    int32_t max_buckets = 5;
    int32_t min_window_length = 5;
    int32_t grace_period = 10;

    template <class Archive> void archive(Archive &a) {
        a(delta, clock, max_buckets, min_window_length, grace_period);
        a.check(clock > 0 && max_buckets > 0 && max_buckets < 1024);
    }
};

// Row i of the histogram holds up to `max_buckets` summaries (total, variance) of 2^i values each.
class Adwin {
   public:
    explicit Adwin(const AdwinRules &rules) : rules_(&rules) { reset(); }

    // Take one value; true when the window was cut. As in River, the first value after a cut
    // starts a new window.
    bool update(double value);

    // Of the values in the window, 0 if there are none.
    double mean() const { return width_ == 0.0 ? 0.0 : total_ / width_; }
    size_t bytes() const;

    template <class Archive> void archive(Archive &a) {
        a(detected_, total_, variance_, width_, tick_, counts_);
        a.check(!counts_.empty() && counts_.size() < 63 && width_ >= 0.0);
        totals_.resize(counts_.size() * row_length(), 0.0);
        variances_.resize(totals_.size(), 0.0);
        for (size_t row = 0; row < counts_.size(); row++) {
            a.check(counts_[row] >= 0 && counts_[row] <= rules_->max_buckets);
            for (size_t k = 0; !a.failed() && k < static_cast<size_t>(counts_[row]); k++) {
                a.compact(totals_[row * row_length() + k], variances_[row * row_length() + k]);
            }
        }
    }

   private:
    size_t row_length() const { return static_cast<size_t>(rules_->max_buckets) + 1; }
    void reset();
    void insert(double value);
    void compress(size_t row, int n);
    void merge_full_rows();
    bool shrink();
    bool cut_once();
    void drop_oldest();
    bool differ(double n0, double n1, double delta_mean) const;

    const AdwinRules *rules_;
    bool detected_ = false;
    double total_ = 0.0;
    double variance_ = 0.0;
    double width_ = 0.0;
    int64_t tick_ = 0;
    std::vector<int32_t> counts_;
    std::vector<double> totals_;
    std::vector<double> variances_;
};

}  // namespace driftline
