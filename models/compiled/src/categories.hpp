// Categories in order of arrival, each found again by its code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "memory.hpp"

namespace driftline {

class CategorySlots {
   public:
    // The slot of a category, -1 if it is not here.
    int32_t find(int32_t code) const {
        if (codes_.size() <= kIndexMin) {
            for (size_t slot = 0; slot < codes_.size(); slot++) {
                if (codes_[slot] == code) return static_cast<int32_t>(slot);
            }
            return -1;
        }
        const auto found = index_.find(code);
        return found == index_.end() ? -1 : found->second;
    }

    int32_t add(int32_t code) {
        const int32_t known = find(code);
        if (known >= 0) return known;
        codes_.push_back(code);
        index();
        return static_cast<int32_t>(codes_.size()) - 1;
    }

    size_t size() const { return codes_.size(); }
    const std::vector<int32_t> &codes() const { return codes_; }

    size_t bytes() const {
        constexpr size_t kIndexEntry = 40;
        return bytes_of(codes_) + index_.size() * kIndexEntry;
    }

    template <class Archive> void archive(Archive &a) {
        a(codes_);
        if (a.loading) index();
    }

   private:
    // Few are found faster by looking at each.
    static constexpr size_t kIndexMin = 16;

    void index() {
        if (codes_.size() <= kIndexMin) return;
        for (size_t slot = index_.size(); slot < codes_.size(); slot++) {
            index_.emplace(codes_[slot], static_cast<int32_t>(slot));
        }
    }

    std::vector<int32_t> codes_;
    std::unordered_map<int32_t, int32_t> index_;
};

}  // namespace driftline
