#include "schema.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "memory.hpp"

namespace driftline {

namespace {

template <class Less> std::vector<int32_t> ranks(size_t n, Less less) {
    std::vector<int32_t> order(n), rank(n);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), less);
    for (size_t i = 0; i < n; i++) rank[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
    return rank;
}

// CPython's set of hashes (Objects/setobject.c): open addressing, a few linear probes at each place
// before the next jump, grown fourfold (twofold when large) at three fifths.
class HashSet {
   public:
    HashSet() : table_(8) {}

    void add(int64_t hash, int32_t item) {
        place(hash, item);
        if ((++n_) * 5 < (table_.size() - 1) * 3) return;
        size_t size = 8;
        while (size <= (n_ > 50000 ? n_ * 2 : n_ * 4)) size <<= 1;
        std::vector<Entry> old(size);
        std::swap(old, table_);
        for (const Entry &entry : old) {
            if (entry.item >= 0) place(entry.hash, entry.item);
        }
    }

    std::vector<int32_t> items() const {
        std::vector<int32_t> found;
        for (const Entry &entry : table_) {
            if (entry.item >= 0) found.push_back(entry.item);
        }
        return found;
    }

   private:
    struct Entry {
        int32_t item = -1;
        int64_t hash = 0;
    };

    void place(int64_t hash, int32_t item) {
        constexpr size_t kLinearProbes = 9;
        const size_t mask = table_.size() - 1;
        size_t perturb = static_cast<size_t>(hash);
        size_t i = perturb & mask;
        while (true) {
            const size_t n_probes = i + kLinearProbes <= mask ? kLinearProbes : 0;
            for (size_t k = i; k <= i + n_probes; k++) {
                if (table_[k].item < 0) {
                    table_[k] = {item, hash};
                    return;
                }
            }
            perturb >>= 5;
            i = (i * 5 + 1 + perturb) & mask;
        }
    }

    size_t n_ = 0;
    std::vector<Entry> table_;
};

}  // namespace

bool Name::operator<(const Name &other) const {
    if (is_text() != other.is_text()) return other.is_text();
    return is_text() ? text < other.text : number < other.number;
}

// _Py_HashDouble: the number modulo the prime 2**61 - 1.
int64_t Name::hash() const {
    constexpr int kBits = 61;
    constexpr uint64_t kModulus = (uint64_t{1} << kBits) - 1;
    int exponent;
    double mantissa = std::frexp(std::fabs(number), &exponent);
    uint64_t x = 0;
    while (mantissa != 0.0) {
        x = ((x << 28) & kModulus) | x >> (kBits - 28);
        mantissa *= 268435456.0;  // 2 ** 28
        exponent -= 28;
        const auto digits = static_cast<uint64_t>(mantissa);
        mantissa -= static_cast<double>(digits);
        x += digits;
        if (x >= kModulus) x -= kModulus;
    }
    exponent = exponent >= 0 ? exponent % kBits : kBits - 1 - ((-1 - exponent) % kBits);
    x = ((x << exponent) & kModulus) | x >> (kBits - exponent);
    const int64_t hash = number < 0.0 ? -static_cast<int64_t>(x) : static_cast<int64_t>(x);
    return hash == -1 ? -2 : hash;
}

void Schema::index() {
    const auto at = [](auto &items, int32_t i) -> auto & {
        return items[static_cast<size_t>(i)];
    };
    feature_rank = ranks(features.size(), [&](int32_t a, int32_t b) {
        return at(features, a).name < at(features, b).name;
    });
    class_rank = ranks(classes.size(),
                       [&](int32_t a, int32_t b) { return at(classes, a) < at(classes, b); });
    class_zero = class_one = -1;
    for (size_t i = 0; i < classes.size(); i++) {
        if (classes[i].is_text()) continue;
        if (classes[i].number == 0.0) class_zero = static_cast<int32_t>(i);
        if (classes[i].number == 1.0) class_one = static_cast<int32_t>(i);
    }
}

size_t Schema::bytes() const {
    size_t n = bytes_of(features) + bytes_of(classes);
    for (const Feature &feature : features) {
        n += bytes_of(feature.categories);
        for (const Name &name : feature.categories) n += name.text.size();
    }
    return n;
}

void order_as_set(std::vector<int32_t> &items, const std::vector<Name> &names) {
    const auto name = [&](int32_t i) -> const Name & { return names[static_cast<size_t>(i)]; };
    if (items.empty() || name(items[0]).is_text()) {
        std::sort(items.begin(), items.end(),
                  [&](int32_t a, int32_t b) { return name(a) < name(b); });
        return;
    }
    HashSet set;
    for (const int32_t item : items) set.add(name(item).hash(), item);
    items = set.items();
}

}  // namespace driftline
