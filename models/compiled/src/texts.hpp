// The categories that come again and again, found without the hash of a text that is new each time.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "module.hpp"

namespace driftline {

// Short texts of ASCII with a code each, in front of the Names that know all: what has the same place
// here takes that from the other. At most some 30 KB a feature, which are not in the model's budget: a
// prediction fills it as well, and what is learned must not depend on who asked.
class UsualTexts {
   public:
    static constexpr int kUnknown = -1;

    int find(PyObject *text) const {
        if (entries_.empty() || !is_usual(text)) return kUnknown;
        const Entry &entry = entries_[place_of(text)];
        const bool is_it = entry.text.get() == text || (entry.text && is_equal(entry.text, text));
        return is_it ? entry.code : kUnknown;
    }

    void keep(PyObject *text, int code) {
        if (!is_usual(text)) return;
        if (entries_.empty()) entries_.resize(kPlaces);
        entries_[place_of(text)] = {Ref::borrow(text), code};
    }

   private:
    static constexpr size_t kPlaces = 256;
    static constexpr Py_ssize_t kLettersMax = 64;

    struct Entry {
        Ref text;
        int code = kUnknown;
    };

    static bool is_usual(PyObject *text) {
        return PyUnicode_CheckExact(text) && PyUnicode_IS_COMPACT_ASCII(text) &&
               PyUnicode_GET_LENGTH(text) <= kLettersMax;
    }

    static const char *letters(PyObject *text) {
        return static_cast<const char *>(PyUnicode_DATA(text));
    }

    static bool is_equal(const Ref &held, PyObject *text) {
        const Py_ssize_t n = PyUnicode_GET_LENGTH(text);
        return PyUnicode_GET_LENGTH(held.get()) == n &&
               std::memcmp(letters(held.get()), letters(text), static_cast<size_t>(n)) == 0;
    }

    // FNV-1a. Texts that were made to share a place are looked up in the dict, as all would be.
    static size_t place_of(PyObject *text) {
        uint64_t hash = 0xcbf29ce484222325u;
        const char *letter = letters(text);
        for (Py_ssize_t i = PyUnicode_GET_LENGTH(text); i > 0; i--) {
            hash = (hash ^ static_cast<unsigned char>(*letter++)) * 0x100000001b3u;
        }
        return (hash ^ hash >> 32) % kPlaces;
    }

    std::vector<Entry> entries_;
};

}  // namespace driftline
