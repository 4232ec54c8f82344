// Events and labels as trees take them: checked whole, named in a Schema, then free of Python.
#pragma once

#include <array>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "columns.hpp"
#include "features.hpp"
#include "leaf.hpp"
#include "schema.hpp"
#include "texts.hpp"

namespace driftline {

// Reads dicts (or an array) into rows of numbers. What is new is given a number only when all of a
// batch was found good, so a batch that is refused leaves no trace.
class Events {
   public:
    explicit Events(Schema &schema) : schema_(schema) {}

    // Features that are nominal whatever their values are.
    std::vector<Name> nominals;
    // From now on features are numbers, and labels the classes that are known.
    void restrict_to_numbers_and_known_classes() { takes_text_ = takes_classes_ = false; }
    void restrict_to_numbers() { takes_text_ = false; }
    // Rows are to have the numbers that categories were given as.
    void keep_numbers() { keeps_numbers_ = true; }
    // Bytes that categories may take; beyond it, new ones count as missing.
    double category_bytes_max = 0.0;

    // Each returns false with an exception set when something is refused.
    bool read_one(PyObject *features);
    bool read_all(PyObject *dicts);
    bool open_array(PyObject *rows, PyObject *names);
    bool read_label(PyObject *label);
    bool read_labels(PyObject *labels, size_t n_rows);
    // Number what is new. Call it after all else was read, or for a prediction, `recognise`.
    bool learn();
    bool recognise();
    // Whether the row that was read by itself is the one before, unchanged.
    bool repeats() const { return repeats_; }

    size_t size() const { return is_array_ ? n_array_rows_ : rows_.size(); }
    // Valid until the next call; needs no GIL.
    Row row(size_t i);
    int32_t label(size_t i) const { return labels_[i]; }
    // Of a row of dicts: the id of each item's feature, negative where it was never learned.
    const int *slots(size_t i) const { return rows_.slots(i); }
    size_t width(size_t i) const { return rows_.width(i); }

    // The class as Python knows it (borrowed).
    PyObject *class_object(int32_t cls) const { return classes_.name(cls); }
    // -1: never seen.
    int32_t find_class(PyObject *label) const;
    void release_array() { array_.reset(); }
    double category_bytes() const { return category_bytes_; }

    // After the schema was loaded: find the Python objects for its names; false if out of memory.
    bool restore();

   private:
    bool fail(int before);
    bool add_features(int before);
    bool check_kinds(int before);
    bool are_kinds_known() const;
    void note_kinds();
    void begin_reading();
    bool add_categories();
    bool check_label(PyObject *label, Ref &plain) const;
    bool add_labels();
    bool is_plain() const;
    void keep_given();
    int32_t code_of_text(size_t feature, PyObject *text, bool may_add);
    int32_t code_of_number(size_t feature, double number, bool may_add);
    bool has_room(size_t bytes);

    Schema &schema_;
    Names names_;
    Names classes_;
    Rows rows_{true};
    std::unique_ptr<Array> array_;
    Columns columns_;
    bool takes_text_ = true;
    bool takes_classes_ = true;
    bool keeps_numbers_ = false;
    bool is_array_ = false;
    bool learns_ = false;
    size_t n_array_rows_ = 0;
    std::vector<double> array_codes_;
    // Classes of labels; of those in `plain_labels_`, which are new, the place there as -1 - place.
    std::vector<int32_t> labels_;
    std::vector<Ref> plain_labels_;
    // Labels are mostly the same few objects.
    std::array<std::pair<Ref, int32_t>, 2> usual_labels_;
    size_t next_usual_label_ = 0;
    bool has_nominals_ = false;
    bool has_number_categories_ = false;
    // By feature: whether it is text.
    std::vector<char> is_text_;
    // The state of the dict that was read last, and of the one that was recognised if reading it
    // again would give the same; 0: none.
    uint64_t read_version_ = 0;
    uint64_t known_version_ = 0;
    bool repeats_ = false;
    std::vector<Names> text_codes_;
    std::vector<UsualTexts> usual_texts_;
    std::vector<std::unordered_map<double, int32_t>> number_codes_;
    double category_bytes_ = 0.0;
    // What the values of a batch of dicts were before they became codes.
    std::vector<double> given_;
    std::vector<double> dense_;
    std::vector<double> numbers_;
    std::vector<int32_t> order_;
};

}  // namespace driftline
