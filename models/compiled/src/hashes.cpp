// BLAKE2b (RFC 7693), unkeyed: the compression function, and what feeds it.
#include "hashes.hpp"

#include <algorithm>
#include <cstring>

namespace driftline {

namespace {

constexpr size_t kBlock = 128;
constexpr uint64_t kDigest = 8;
constexpr int kRounds = 12;

constexpr uint64_t kStart[8] = {
    0x6A09E667F3BCC908u, 0xBB67AE8584CAA73Bu, 0x3C6EF372FE94F82Bu, 0xA54FF53A5F1D36F1u,
    0x510E527FADE682D1u, 0x9B05688C2B3E6C1Fu, 0x1F83D9ABFB41BD6Bu, 0x5BE0CD19137E2179u,
};

// Which words of the block each round mixes in; the last two rounds repeat the first two.
constexpr uint8_t kOrder[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

inline uint64_t rotated(uint64_t x, int by) { return (x >> by) | (x << (64 - by)); }

inline void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x;
    v[d] = rotated(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotated(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotated(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotated(v[b] ^ v[c], 63);
}

// `n_before` counts the bytes of the text up to the end of this block.
void compress(uint64_t *state, const unsigned char *block, uint64_t n_before, bool last) {
    uint64_t m[16], v[16];
    std::memcpy(m, block, kBlock);
    for (int i = 0; i < 8; i++) {
        v[i] = state[i];
        v[i + 8] = kStart[i];
    }
    v[12] ^= n_before;
    if (last) v[14] = ~v[14];
    for (int round = 0; round < kRounds; round++) {
        const uint8_t *s = kOrder[round % 10];
        mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
        mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
        mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
        mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
        mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
        mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
        mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
        mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
    }
    for (int i = 0; i < 8; i++) state[i] ^= v[i] ^ v[i + 8];
}

}  // namespace

uint64_t blake2b_64(const unsigned char *text, size_t n) {
    uint64_t state[8];
    std::copy(kStart, kStart + 8, state);
    state[0] ^= 0x01010000u ^ kDigest;  // No key, no tree.
    size_t at = 0;
    for (; n - at > kBlock; at += kBlock) compress(state, text + at, at + kBlock, false);
    unsigned char block[kBlock] = {0};
    if (n > at) std::memcpy(block, text + at, n - at);
    compress(state, block, n, true);
    return state[0];
}

}  // namespace driftline
