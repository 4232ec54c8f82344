// Dumps of nested C++ state: an object lists its members once, in `archive`, for both directions.
#pragma once

#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "dump.hpp"
#include "schema.hpp"

namespace driftline {

// What both directions share. Loading checks what was read; a failed check fails the reader.
template <class Direction, bool is_loading> class ArchiveBase {
   public:
    static constexpr bool loading = is_loading;

    // What the ids of classes, features and categories must fit.
    const Schema *schema = nullptr;

    template <class... Items> void operator()(Items &...items) { (one(items), ...); }
    // Numbers that are mostly whole: those take five bytes, others nine.
    template <class... Items> void compact(Items &...items) { (self().compact_one(items), ...); }

    void check_index(int32_t index, size_t size) {
        self().check(index >= 0 && static_cast<size_t>(index) < size);
    }
    void check_class(int32_t cls) { check_index(cls, schema->classes.size()); }
    void check_feature(int32_t feature) { check_index(feature, schema->features.size()); }

   private:
    Direction &self() { return static_cast<Direction &>(*this); }

    template <class Item> void one(Item &item) {
        if constexpr (std::is_enum_v<Item>) {
            auto number = static_cast<uint8_t>(item);
            self().number(number);
            item = static_cast<Item>(number);
        } else if constexpr (std::is_arithmetic_v<Item> || std::is_same_v<Item, std::string>) {
            self().number(item);
        } else {
            item.archive(self());
        }
    }
    template <class Item> void one(std::vector<Item> &items) {
        size_t n = items.size();
        self().count(n);
        if (is_loading) items.resize(n);
        for (Item &item : items) one(item);
    }
};

class Saver : public ArchiveBase<Saver, false> {
   public:
    explicit Saver(DumpWriter &writer) : writer_(writer) {}

    static constexpr bool failed() { return false; }
    static void check(bool) {}
    void count(size_t &n) { writer_.u32(static_cast<uint32_t>(n)); }
    void number(bool &value) { writer_.u8(value ? 1 : 0); }
    void number(uint8_t &value) { writer_.u8(value); }
    void number(uint32_t &value) { writer_.u32(value); }
    void number(int32_t &value) { writer_.u32(static_cast<uint32_t>(value)); }
    void number(int64_t &value) { writer_.i64(value); }
    void number(double &value) { writer_.f64(value); }
    void number(std::string &text) { writer_.text(text.data(), text.size()); }
    // A count that is mostly small: seven bits a byte, the highest says that more follow.
    void small(int32_t &value) {
        auto rest = static_cast<uint32_t>(value);
        for (; rest >= 0x80; rest >>= 7) writer_.u8(static_cast<uint8_t>(rest | 0x80));
        writer_.u8(static_cast<uint8_t>(rest));
    }
    void compact_one(double &value) {
        bool is_whole = std::fabs(value) < 0x1p31 && value == std::trunc(value) &&
                        !(value == 0.0 && std::signbit(value));
        number(is_whole);
        if (is_whole) {
            writer_.u32(static_cast<uint32_t>(static_cast<int32_t>(value)));
        } else {
            number(value);
        }
    }

   private:
    DumpWriter &writer_;
};

class Loader : public ArchiveBase<Loader, true> {
   public:
    explicit Loader(DumpReader &reader) : reader_(reader) {}

    bool failed() const { return reader_.failed(); }
    void check(bool is_good) {
        if (!is_good) reader_.fail("the dump contradicts itself");
    }
    // Each counted item takes a byte at least, so damage cannot ask for endless memory.
    void count(size_t &n) { n = reader_.count(1); }
    void number(bool &value) { value = reader_.u8() != 0; }
    void number(uint8_t &value) { value = reader_.u8(); }
    void number(uint32_t &value) { value = reader_.u32(); }
    void number(int32_t &value) { value = static_cast<int32_t>(reader_.u32()); }
    void number(int64_t &value) { value = reader_.i64(); }
    void number(double &value) { value = reader_.f64(); }
    void number(std::string &text) { text = reader_.text(); }
    void small(int32_t &value) {
        uint32_t bits = 0, byte = 0x80;
        for (int shift = 0; shift < 28 && (byte & 0x80) != 0; shift += 7) {
            byte = reader_.u8();
            bits |= (byte & 0x7f) << shift;
        }
        check((byte & 0x80) == 0);
        value = static_cast<int32_t>(bits);
    }
    void compact_one(double &value) {
        bool is_whole;
        number(is_whole);
        if (is_whole) {
            value = static_cast<int32_t>(reader_.u32());
        } else {
            number(value);
        }
    }

   private:
    DumpReader &reader_;
};

}  // namespace driftline
