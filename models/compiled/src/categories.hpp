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
        if (code < kDirectMax) {
            const auto at = static_cast<size_t>(code);
            return code >= 0 && at < direct_.size() ? direct_[at] : -1;
        }
        const auto found = index_.find(code);
        return found == index_.end() ? -1 : found->second;
    }

    int32_t add(int32_t code) {
        const int32_t known = find(code);
        if (known >= 0) return known;
        codes_.push_back(code);
        index(codes_.size() - 1);
        return static_cast<int32_t>(codes_.size()) - 1;
    }

    size_t size() const { return codes_.size(); }
    const std::vector<int32_t> &codes() const { return codes_; }

    size_t bytes() const {
        constexpr size_t kIndexEntry = 40;
        return bytes_of(codes_) + bytes_of(direct_) + index_.size() * kIndexEntry;
    }

    template <class Archive> void archive(Archive &a) {
        a(codes_);
        for (size_t slot = 0; a.loading && slot < codes_.size(); slot++) {
            a.check(codes_[slot] >= 0);
            if (!a.failed()) index(slot);
        }
    }

   private:
    // The first categories of a feature are the common ones, and found by their place.
    static constexpr int32_t kDirectMax = 256;

    void index(size_t slot) {
        const int32_t code = codes_[slot];
        if (code >= kDirectMax) {
            index_.emplace(code, static_cast<int32_t>(slot));
            return;
        }
        const auto at = static_cast<size_t>(code);
        if (at >= direct_.size()) direct_.resize(at + 1, -1);
        direct_[at] = static_cast<int16_t>(slot);
    }

    std::vector<int32_t> codes_;
    std::vector<int16_t> direct_;
    std::unordered_map<int32_t, int32_t> index_;
};

}  // namespace driftline
