// Powers to the last bit as Python has them: they are calls of C's pow there.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace driftline {

namespace power {

// sqrt and a product round correctly; pow does, too, unless the true result is nearly half-way between
// two floats. Its error is below 0.512 units in the last place for results in [1e-30, 1e30] (glibc's
// analysis: 0.509, and 1.3 * 2**-15 for each unit of the logarithm), so only where the result is more
// than 0.485 units off may it differ. There, one case in 33, pow is asked: it takes six times as long.
constexpr double kNearTie = 0.485;

// Volatile, or compilers write 1 / x for pow(x, -1) and would be free to write sqrt.
inline const volatile double kHalf = 0.5, kTwo = 2.0, kMinusOne = -1.0;

// The unit in the last place of a positive normal number.
inline double ulp(double x) {
    uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits &= 0x7FF0000000000000u;
    double power_of_two;
    std::memcpy(&power_of_two, &bits, sizeof bits);
    return power_of_two * 0x1p-52;
}

// a * a - square, exactly where square is a * a rounded (Veltkamp and Dekker).
inline double square_error(double a, double square) {
    constexpr double kSplit = 134217729.0;  // 2**27 + 1
    const double scaled = kSplit * a;
    const double high = scaled - (scaled - a), low = a - high;
    return ((high * high - square) + 2.0 * high * low) + low * low;
}

// Whether root = sqrt(x) is what pow(x, 0.5) gives, too: 0.0, or 1.0 if that must be asked. The true
// root is off by (x - root * root) / (2 * root). Written without branches, for vector code.
inline double root_is_unsure(double x, double root) {
    const double off = std::fabs(square_error(root, x));
    const double near = off < 2.0 * kNearTie * root * ulp(root) ? 0.0 : 1.0;
    const double low = x > 1e-60 ? 0.0 : 1.0, high = x < 1e60 ? 0.0 : 1.0;
    return std::max(near, std::max(low, high));
}

inline bool square_is_unsure(double x, double square) {
    return square < 1e-30 || square > 1e30 ||
           std::fabs(square_error(x, square)) >= kNearTie * ulp(square);
}

}  // namespace power

// x ** 0.5, for x >= 0.
inline double python_sqrt(double x) {
    const double root = std::sqrt(x);
    return power::root_is_unsure(x, root) == 0.0 ? root : std::pow(x, power::kHalf);
}

// x ** 2.
inline double python_square(double x) {
    const double square = x * x;
    return power::square_is_unsure(x, square) ? std::pow(x, power::kTwo) : square;
}

// x ** -1.
inline double python_reciprocal(double x) { return std::pow(x, power::kMinusOne); }

}  // namespace driftline
