#include "dump.hpp"

#include <array>

namespace driftline {

namespace {

constexpr char kMagic[] = "DRIFTDMP";
constexpr size_t kMagicSize = sizeof kMagic - 1;
constexpr uint8_t kText = 's', kInteger = 'i', kTruth = 'b';

using CrcTables = std::array<std::array<uint32_t, 256>, 8>;

CrcTables crc_tables() {
    CrcTables tables{};
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0u);
        tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (size_t k = 1; k < 8; k++) {
            tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 0xFF];
        }
    }
    return tables;
}

// Eight bytes a step: a forest's dump is megabytes.
uint32_t crc32(const unsigned char *at, size_t size) {
    static const CrcTables tables = crc_tables();
    uint32_t crc = 0xFFFFFFFFu;
    for (; size >= 8; at += 8, size -= 8) {
        crc ^= static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8 |
               static_cast<uint32_t>(at[2]) << 16 | static_cast<uint32_t>(at[3]) << 24;
        crc = tables[7][crc & 0xFF] ^ tables[6][crc >> 8 & 0xFF] ^ tables[5][crc >> 16 & 0xFF] ^
              tables[4][crc >> 24] ^ tables[3][at[4]] ^ tables[2][at[5]] ^ tables[1][at[6]] ^
              tables[0][at[7]];
    }
    for (; size > 0; at++, size--) crc = (crc >> 8) ^ tables[0][(crc ^ *at) & 0xFF];
    return ~crc;
}

}  // namespace

DumpWriter::DumpWriter(const char *kind) {
    bytes_.append(kMagic, kMagicSize);
    u32(kFormatVersion);
    text(kind, std::strlen(kind));
}

void DumpWriter::f64(double value) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    u64(bits);
}

void DumpWriter::f64s(const std::vector<double> &values) {
    bytes_.reserve(bytes_.size() + 8 * values.size());
    for (const double value : values) f64(value);
}

void DumpWriter::text(const char *bytes, size_t size) {
    u32(static_cast<uint32_t>(size));
    bytes_.append(bytes, size);
}

bool DumpWriter::name(PyObject *name) {
    if (PyUnicode_Check(name)) {
        const Ref encoded(PyUnicode_AsEncodedString(name, "utf-8", "surrogatepass"));
        if (!encoded) return false;
        u8(kText);
        text(PyBytes_AS_STRING(encoded.get()), PyBytes_GET_SIZE(encoded.get()));
        return true;
    }
    if (PyBool_Check(name)) {
        u8(kTruth);
        u8(name == Py_True);
        return true;
    }
    if (!PyLong_Check(name)) {
        PyErr_Format(PyExc_TypeError, "%R is neither a str nor an int and cannot be dumped", name);
        return false;
    }
    const long long integer = PyLong_AsLongLong(name);
    if (integer == -1 && PyErr_Occurred()) return false;
    u8(kInteger);
    i64(integer);
    return true;
}

bool DumpWriter::names(const Names &names) {
    u32(static_cast<uint32_t>(names.size()));
    for (int slot = 0; slot < names.size(); slot++) {
        if (!name(names.name(slot))) return false;
    }
    return true;
}

PyObject *DumpWriter::finish() {
    u32(crc32(reinterpret_cast<const unsigned char *>(bytes_.data()), bytes_.size()));
    return PyBytes_FromStringAndSize(bytes_.data(), static_cast<Py_ssize_t>(bytes_.size()));
}

DumpReader::DumpReader(PyObject *bytes, const char *kind) {
    if (!PyBytes_Check(bytes)) {
        PyErr_Format(PyExc_TypeError, "a dump is bytes, not %s", Py_TYPE(bytes)->tp_name);
        failed_ = true;
        return;
    }
    at_ = reinterpret_cast<const unsigned char *>(PyBytes_AS_STRING(bytes));
    end_ = at_ + PyBytes_GET_SIZE(bytes);
    if (left() < kMagicSize + 12 || std::memcmp(at_, kMagic, kMagicSize) != 0) {
        fail("these bytes are no dump of a compiled estimator");
        return;
    }
    const unsigned char *start = at_, *checksum = end_ - 4;
    at_ = checksum;
    const uint32_t expected = u32();
    if (crc32(start, static_cast<size_t>(checksum - start)) != expected) {
        fail("the dump is damaged: its checksum differs");
        return;
    }
    at_ = start + kMagicSize;
    end_ = checksum;
    const uint32_t version = u32();
    if (version != kFormatVersion) {
        fail("the dump has a format that this release does not read");
        return;
    }
    if (text() != kind) fail("the dump is of another estimator");
}

void DumpReader::fail(const char *what) {
    if (!failed_) PyErr_SetString(PyExc_ValueError, what);
    failed_ = true;
}

uint8_t DumpReader::u8() {
    if (failed_) return 0;
    if (at_ == end_) {
        fail("the dump ends too soon");
        return 0;
    }
    return *at_++;
}

double DumpReader::f64() {
    const uint64_t bits = u64();
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

void DumpReader::f64s(std::vector<double> &values, size_t n) {
    if (!failed_ && left() / 8 < n) fail("the dump ends too soon");
    values.clear();
    if (failed_) return;
    values.reserve(n);
    for (size_t i = 0; i < n; i++) values.push_back(f64());
}

std::string DumpReader::text() {
    const size_t size = count(1);
    if (failed_) return {};
    std::string found(reinterpret_cast<const char *>(at_), size);
    at_ += size;
    return found;
}

Ref DumpReader::name() {
    const uint8_t type = u8();
    if (failed_) return {};
    Ref found;
    if (type == kText) {
        const std::string utf8 = text();
        if (failed_) return {};
        // Interned, as the keys of decoded events mostly are: they are then told apart by address.
        PyObject *decoded = PyUnicode_DecodeUTF8(
            utf8.data(), static_cast<Py_ssize_t>(utf8.size()), "surrogatepass");
        if (decoded != nullptr) PyUnicode_InternInPlace(&decoded);
        found = Ref(decoded);
    } else if (type == kTruth) {
        found = Ref::borrow(u8() ? Py_True : Py_False);
    } else if (type == kInteger) {
        found = Ref(PyLong_FromLongLong(i64()));
    } else {
        fail("the dump holds a name that is neither text, an integer nor a truth");
    }
    if (!found) failed_ = true;
    return failed_ ? Ref() : std::move(found);
}

bool DumpReader::names(Names &names) {
    const size_t n = count(2);
    for (size_t i = 0; i < n && !failed_; i++) {
        const Ref found = name();
        if (!found) return false;
        const int slot = names.add(found.get());
        if (slot == Names::kFailed) {
            failed_ = true;
        } else if (slot != static_cast<int>(i)) {
            fail("the dump names a feature twice");
        }
    }
    return !failed_;
}

size_t DumpReader::count(size_t bytes_each) {
    const size_t n = u32();
    if (!failed_ && left() / bytes_each < n) fail("the dump ends too soon");
    return failed_ ? 0 : n;
}

bool DumpReader::finished() {
    if (!failed_ && at_ != end_) fail("the dump holds more than its estimator has");
    return !failed_;
}

}  // namespace driftline
