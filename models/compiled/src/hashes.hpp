// Hashes of texts: BLAKE2b with digests of 8 bytes, as hashlib gives them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace driftline {

// The digest of `n` bytes, its bytes read as a little-endian number.
uint64_t blake2b_64(const unsigned char *text, size_t n);

}  // namespace driftline
