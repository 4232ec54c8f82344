// The dump: one canonical form of a model's state in bytes, equal for equal states.
//
//     magic     8 bytes   "DRIFTDMP"
//     version   u32       of the format
//     kind      text      which estimator
//     content             numbers and texts as the estimator writes them
//     checksum  u32       CRC-32 (as zlib's) of all before
//
// A name is 's' and a text, 'i' and an i64, or 'b' and a byte. Integers and floats are little-endian; a text is its length as u32 and UTF-8.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "features.hpp"
#include "module.hpp"

namespace driftline {

constexpr uint32_t kFormatVersion = 1;

class DumpWriter {
   public:
    explicit DumpWriter(const char *kind);
    void u8(uint8_t value) { bytes_.push_back(static_cast<char>(value)); }
    void u32(uint32_t value) { little_endian(value); }
    void u64(uint64_t value) { little_endian(value); }
    void i64(int64_t value) { little_endian(static_cast<uint64_t>(value)); }
    void f64(double value);
    void f64s(const std::vector<double> &values);
    void text(const char *bytes, size_t size);
    // A str, int or bool (a feature's name, a class); false with an exception set for anything else.
    bool name(PyObject *name);
    bool names(const Names &names);
    // The finished dump as a bytes object.
    PyObject *finish();

   private:
    template <typename Unsigned>
    void little_endian(Unsigned value) {
        for (size_t i = 0; i < sizeof value; i++) u8(static_cast<uint8_t>(value >> (8 * i)));
    }
    std::string bytes_;
};

// Reads what DumpWriter wrote. A read that fails sets a ValueError; `failed` stays true from then on
// and all further reads give zero, so a sequence of reads is checked once, at its end.
class DumpReader {
   public:
    // Verifies magic, version, kind and checksum.
    DumpReader(PyObject *bytes, const char *kind);
    uint8_t u8();
    uint32_t u32() { return little_endian<uint32_t>(); }
    uint64_t u64() { return little_endian<uint64_t>(); }
    int64_t i64() { return static_cast<int64_t>(u64()); }
    double f64();
    // Exactly `n` floats.
    void f64s(std::vector<double> &values, size_t n);
    std::string text();
    // A new reference to a str, int or bool, null on failure.
    Ref name();
    bool names(Names &names);
    // A count of items that take at least `bytes_each` bytes: damage cannot ask for endless memory.
    size_t count(size_t bytes_each);
    void fail(const char *what);
    bool failed() const { return failed_; }
    // Whether all was read and nothing is left; otherwise false with an exception set.
    bool finished();

   private:
    template <typename Unsigned>
    Unsigned little_endian() {
        Unsigned value = 0;
        for (size_t i = 0; i < sizeof value; i++) value |= static_cast<Unsigned>(u8()) << (8 * i);
        return value;
    }
    size_t left() const { return static_cast<size_t>(end_ - at_); }
    const unsigned char *at_ = nullptr;
    const unsigned char *end_ = nullptr;
    bool failed_ = false;
};

}  // namespace driftline
