// Loops that are worth wider registers where the processor has them.
#pragma once

#include <cstdint>  // It says whether this is glibc, whose loader knows how to choose.

// A function so marked is compiled twice, and the loader takes the one that the processor can run.
// Both give the same results: there is no contraction, and elements stay apart from each other.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define DRIFTLINE_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define DRIFTLINE_WIDE
#endif
