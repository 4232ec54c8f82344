// Python's random.Random, draw for draw.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace driftline {

// MT19937 with the methods that River's estimators call. The state is handed over from
// random.Random(seed).getstate(), so a seed means the same here and there.
class Random {
   public:
    static constexpr int kWords = 624;

    std::array<uint32_t, kWords> words{};
    uint32_t index = kWords;

    template <class Archive> void archive(Archive &a) {
        for (uint32_t &word : words) a(word);
        a(index);
        a.check(index <= kWords);
    }

    double random() {
        const uint32_t high = next() >> 5;
        const uint32_t low = next() >> 6;
        return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
    }

    int poisson(double rate) {
        const double limit = std::exp(-rate);
        int k = 0;
        double p = 1.0;
        while (p > limit) {
            ++k;
            p *= random();
        }
        return k - 1;
    }

    // random.sample(population, k): a shrinking pool for few, a set of what was taken for many.
    std::vector<int32_t> sample(const std::vector<int32_t> &population, int k) {
        const int n = static_cast<int>(population.size());
        std::vector<int32_t> result(k);
        double n_pool = 21.0;
        if (k > 5) n_pool += std::pow(4.0, std::ceil(std::log(k * 3.0) / std::log(4.0)));
        if (n <= n_pool) {
            std::vector<int32_t> pool = population;
            for (int i = 0; i < k; ++i) {
                const int j = below(n - i);
                result[i] = pool[j];
                pool[j] = pool[n - i - 1];
            }
            return result;
        }
        std::vector<int> taken;
        for (int i = 0; i < k; ++i) {
            int j = below(n);
            while (std::find(taken.begin(), taken.end(), j) != taken.end()) j = below(n);
            taken.push_back(j);
            result[i] = population[j];
        }
        return result;
    }

   private:
    int below(int n) {
        int n_bits = 0;
        while ((n >> n_bits) != 0) ++n_bits;
        uint32_t drawn = next() >> (32 - n_bits);
        while (drawn >= static_cast<uint32_t>(n)) drawn = next() >> (32 - n_bits);
        return static_cast<int>(drawn);
    }

    uint32_t next() {
        if (index >= kWords) refill();
        uint32_t y = words[index++];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c5680U;
        y ^= (y << 15) & 0xefc60000U;
        return y ^ (y >> 18);
    }

    void refill() {
        constexpr int M = 397;
        for (int k = 0; k < kWords; ++k) {
            const uint32_t y =
                (words[k] & 0x80000000U) | (words[(k + 1) % kWords] & 0x7fffffffU);
            words[k] = words[(k + M) % kWords] ^ (y >> 1) ^ ((y & 1U) != 0 ? 0x9908b0dfU : 0U);
        }
        index = 0;
    }
};

}  // namespace driftline
