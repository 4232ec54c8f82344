// What a tree's numbers stand for: the names of features, categories and classes. No Python here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace driftline {

// A feature's name, a category or a class.
struct Name {
    enum class Kind : uint8_t { kBool, kInteger, kFloat, kText };

    Kind kind = Kind::kInteger;
    double number = 0.0;
    std::string text;

    bool is_text() const { return kind == Kind::kText; }
    // Whether Python takes it for false.
    bool is_falsy() const { return is_text() ? text.empty() : number == 0.0; }
    // Numbers before texts; texts by code points, which is what bytes of UTF-8 compare by.
    bool operator<(const Name &other) const;
    // Python's hash of a number.
    int64_t hash() const;

    template <class Archive> void archive(Archive &a) {
        a(kind);
        a.check(kind <= Kind::kText);
        if (is_text()) {
            a(text);
        } else {
            a(number);
        }
    }
};

struct Feature {
    enum class Kind : uint8_t { kNumber, kTextCategory, kNumberCategory };

    Name name;
    Kind kind = Kind::kNumber;
    std::vector<Name> categories;

    bool is_nominal() const { return kind != Kind::kNumber; }

    template <class Archive> void archive(Archive &a) {
        a(name, kind, categories);
        a.check(kind <= Kind::kNumberCategory);
    }
};

struct Schema {
    std::vector<Feature> features;
    std::vector<Name> classes;
    // Derived: the place of each in sorted order, and the classes 0 and 1 (-1: not seen).
    std::vector<int32_t> feature_rank;
    std::vector<int32_t> class_rank;
    int32_t class_zero = -1;
    int32_t class_one = -1;

    void index();
    size_t bytes() const;

    template <class Archive> void archive(Archive &a) {
        a(features, classes);
        index();
    }
};

// Put items into the order in which River's sets of them are walked. A set of numbers has the same
// order in any process, so it is followed here step by step. A set of texts has an order of the
// process, so here it is the sorted one: the same model in any process.
void order_as_set(std::vector<int32_t> &items, const std::vector<Name> &names);

}  // namespace driftline
