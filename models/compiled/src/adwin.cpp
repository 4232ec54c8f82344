#include "adwin.hpp"

#include <algorithm>
#include <cmath>

namespace driftline {

bool Adwin::update(double value) {
    if (detected_) reset();
    insert(value);
    ++tick_;
    detected_ = tick_ % rules_->clock == 0 && width_ > rules_->grace_period && shrink();
    return detected_;
}

size_t Adwin::bytes() const {
    return counts_.size() * (sizeof counts_[0] + 2 * row_length() * sizeof totals_[0]);
}

void Adwin::reset() {
    detected_ = false;
    total_ = variance_ = width_ = 0.0;
    tick_ = 0;
    counts_.assign(1, 0);
    totals_.assign(row_length(), 0.0);
    variances_.assign(row_length(), 0.0);
}

void Adwin::insert(double value) {
    totals_[counts_[0]] = value;
    variances_[counts_[0]] = 0.0;
    ++counts_[0];
    width_ += 1.0;
    if (width_ > 1.0) {
        const double delta = value - total_ / (width_ - 1.0);
        variance_ += (width_ - 1.0) * delta * delta / width_;
    }
    total_ += value;
    merge_full_rows();
}

// Forget the n oldest summaries of a row.
void Adwin::compress(size_t row, int n) {
    const auto begin = static_cast<ptrdiff_t>(row * row_length());
    for (std::vector<double> *cells : {&totals_, &variances_}) {
        std::copy(cells->begin() + begin + n, cells->begin() + begin + counts_[row],
                  cells->begin() + begin);
        std::fill(cells->begin() + begin + counts_[row] - n, cells->begin() + begin + counts_[row],
                  0.0);
    }
    counts_[row] -= n;
}

void Adwin::merge_full_rows() {
    for (size_t row = 0; counts_[row] > rules_->max_buckets; ++row) {
        if (row + 1 == counts_.size()) {
            counts_.push_back(0);
            totals_.resize(totals_.size() + row_length(), 0.0);
            variances_.resize(variances_.size() + row_length(), 0.0);
        }
        const size_t first = row * row_length();
        const size_t target = (row + 1) * row_length() + static_cast<size_t>(counts_[row + 1]);
        const double n = std::ldexp(1.0, static_cast<int>(row));
        const double mu1 = totals_[first] / n;
        const double mu2 = totals_[first + 1] / n;
        const double between = n * 0.5 * (mu1 - mu2) * (mu1 - mu2);
        totals_[target] = totals_[first] + totals_[first + 1];
        variances_[target] = variances_[first] + variances_[first + 1] + between;
        ++counts_[row + 1];
        compress(row, 2);
    }
}

bool Adwin::shrink() {
    bool any = false;
    while (cut_once()) any = true;
    return any;
}

// Look for a point, oldest first, whose two sides differ; drop the oldest summary if there is one.
bool Adwin::cut_once() {
    double n0 = 0.0;
    double n1 = width_;
    double u0 = 0.0;
    double u1 = total_;
    for (size_t row = counts_.size(); row-- > 0;) {
        const double n = std::ldexp(1.0, static_cast<int>(row));
        for (int k = 0; k < counts_[row]; ++k) {
            const double total = totals_[row * row_length() + static_cast<size_t>(k)];
            n0 += n;
            n1 -= n;
            u0 += total;
            u1 -= total;
            if (row == 0 && k == counts_[row] - 1) return false;
            const double delta_mean = u0 / n0 - u1 / n1;
            if (n1 >= rules_->min_window_length && n0 >= rules_->min_window_length &&
                differ(n0, n1, delta_mean)) {
                drop_oldest();
                return true;
            }
        }
    }
    return false;
}

void Adwin::drop_oldest() {
    const size_t row = counts_.size() - 1;
    const size_t first = row * row_length();
    const double n = std::ldexp(1.0, static_cast<int>(row));
    const double total = totals_[first];
    const double mu = total / n;
    width_ -= n;
    total_ -= total;
    const double mu_window = total_ / width_;
    variance_ -= variances_[first] +
                 n * width_ * (mu - mu_window) * (mu - mu_window) / (n + width_);
    compress(row, 1);
    if (counts_[row] == 0 && row > 0) {
        counts_.pop_back();
        totals_.resize(first);
        variances_.resize(first);
    }
}

bool Adwin::differ(double n0, double n1, double delta_mean) const {
    const double delta_prime = std::log(2.0 * std::log(width_) / rules_->delta);
    const double m = 1.0 / (n0 - rules_->min_window_length + 1.0) +
                     1.0 / (n1 - rules_->min_window_length + 1.0);
    const double epsilon = std::sqrt(2.0 * m * (variance_ / width_) * delta_prime) +
                           2.0 / 3.0 * delta_prime * m;
    return std::fabs(delta_mean) > epsilon;
}

}  // namespace driftline
