#include "events.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

namespace driftline {

namespace {

const double kMissing = std::nan("");

bool name_of(PyObject *object, Name &name) {
    if (PyUnicode_Check(object)) {
        const Ref encoded(PyUnicode_AsEncodedString(object, "utf-8", "surrogatepass"));
        if (!encoded) return false;
        name.kind = Name::Kind::kText;
        name.text.assign(PyBytes_AS_STRING(encoded.get()),
                         static_cast<size_t>(PyBytes_GET_SIZE(encoded.get())));
        return true;
    }
    name.kind = PyBool_Check(object)    ? Name::Kind::kBool
                : PyFloat_Check(object) ? Name::Kind::kFloat
                                        : Name::Kind::kInteger;
    name.number = PyFloat_AsDouble(object);
    return !(name.number == -1.0 && PyErr_Occurred());
}

PyObject *object_of(const Name &name) {
    switch (name.kind) {
        case Name::Kind::kBool:
            return PyBool_FromLong(name.number != 0.0);
        case Name::Kind::kInteger:
            return PyLong_FromDouble(name.number);
        case Name::Kind::kFloat:
            return PyFloat_FromDouble(name.number);
        case Name::Kind::kText:
            break;
    }
    PyObject *text = PyUnicode_DecodeUTF8(
        name.text.data(), static_cast<Py_ssize_t>(name.text.size()), "surrogatepass");
    // Interned, as the keys of decoded events mostly are: they are then told apart by address.
    if (text != nullptr) PyUnicode_InternInPlace(&text);
    return text;
}

bool is_same(const Name &a, const Name &b) { return !(a < b) && !(b < a); }

}  // namespace

void Events::begin_reading() {
    labels_.clear();
    plain_labels_.clear();
    read_version_ = known_version_ = 0;
    repeats_ = false;
}

// Mostly a dict is read twice, to predict for it and to learn it. Up to Python 3.11 each state of a
// dict has a number of its own, so that reading again what was read is spared.
bool Events::read_one(PyObject *features) {
    uint64_t version = 0;
#if PY_VERSION_HEX < 0x030C0000
    if (PyDict_CheckExact(features)) {
        version = reinterpret_cast<PyDictObject *>(features)->ma_version_tag;
    }
#endif
    const bool repeats = version != 0 && version == known_version_;
    begin_reading();
    is_array_ = false;
    read_version_ = version;
    if (repeats) {
        known_version_ = version;
        repeats_ = true;
        return true;
    }
    rows_.clear();
    return rows_.append(names_, features) == 0;
}

bool Events::read_all(PyObject *dicts) {
    begin_reading();
    is_array_ = false;
    rows_.clear();
    return rows_.append_all(names_, dicts) == 0;
}

bool Events::open_array(PyObject *rows, PyObject *names) {
    begin_reading();
    is_array_ = true;
    array_ = std::make_unique<Array>();
    if (!array_->open("X", rows, "d", 2)) return false;
    n_array_rows_ = static_cast<size_t>(array_->size(0));
    return check_numbers(array_->data<double>(), array_->size(0), array_->size(1)) == 0 &&
           columns_.open(names_, names, array_->size(1)) == 0;
}

bool Events::read_label(PyObject *label) {
    for (const auto &[usual, cls] : usual_labels_) {
        if (usual.get() != label) continue;
        labels_.push_back(cls);
        return true;
    }
    if (PyBool_Check(label) || PyLong_CheckExact(label) || PyUnicode_CheckExact(label)) {
        const int known = classes_.find(label);
        if (known == Names::kFailed) return false;
        if (known >= 0) {
            labels_.push_back(known);
            usual_labels_[next_usual_label_++ % usual_labels_.size()] = {Ref::borrow(label), known};
            return true;
        }
    }
    Ref plain;
    if (!check_label(label, plain)) return false;
    labels_.push_back(-1 - static_cast<int32_t>(plain_labels_.size()));
    plain_labels_.push_back(std::move(plain));
    return true;
}

bool Events::read_labels(PyObject *labels, size_t n_rows) {
    const Ref tuple(PySequence_Tuple(labels));
    if (!tuple) return false;
    const Py_ssize_t n = PyTuple_GET_SIZE(tuple.get());
    if (static_cast<size_t>(n) != n_rows) {
        PyErr_Format(PyExc_ValueError, "%zd labels for %zu rows", n, n_rows);
        return false;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        if (!read_label(PyTuple_GET_ITEM(tuple.get(), i))) {
            name_row(i);
            return false;
        }
    }
    return true;
}

bool Events::learn() {
    learns_ = true;
    if (repeats_) return add_labels();
    const int before = names_.size();
    const int known = is_array_ ? columns_.learn_names(names_) : rows_.learn_names(names_);
    const bool adds_none = known == 0 && names_.size() == before;
    if (adds_none && is_plain()) return add_labels();
    if (!adds_none || !are_kinds_known()) {
        if (known < 0 || !add_features(before) || !check_kinds(before)) return fail(before);
        if (names_.size() > before) schema_.index();
        note_kinds();
    }
    keep_given();
    return add_categories() && add_labels();
}

bool Events::recognise() {
    learns_ = false;
    if (repeats_) return true;
    bool is_settled = !is_array_ && !has_number_categories_ && rows_.is_settled();
    if (!is_plain()) {
        if (!are_kinds_known() && !check_kinds(names_.size())) return false;
        keep_given();
        if (is_array_) return add_categories();
        for (size_t k = 0; k < rows_.n_values(); k++) {
            const int slot = rows_.slots(0)[k];
            if (slot < 0) continue;
            const auto at = static_cast<size_t>(slot);
            double &value = rows_.values(0)[k];
            if (is_text_[at]) {
                PyObject *text = rows_.texts(0)[k];
                value = text == nullptr ? Names::kUnknown : code_of_text(at, text, false);
                if (value == Names::kFailed) return false;
                is_settled &= value >= 0.0;
            } else if (has_number_categories_ && schema_.features[at].is_nominal()) {
                value = code_of_number(at, value, false);
            }
        }
    }
    if (is_settled) known_version_ = read_version_;
    return true;
}

Row Events::row(size_t i) {
    const double *values, *given;
    const int *slots;
    size_t width;
    bool is_dense;
    if (is_array_) {
        width = static_cast<size_t>(array_->size(1));
        given = array_->data<double>() + i * width;
        values = array_codes_.empty() ? given : array_codes_.data() + i * width;
        slots = columns_.slots();
        is_dense = columns_.is_dense();
    } else {
        width = rows_.width(i);
        values = rows_.values(i);
        given = given_.empty() ? values : given_.data() + (values - rows_.values(0));
        slots = rows_.slots(i);
        is_dense = rows_.is_dense(i);
    }
    const bool is_whole = is_dense && width == schema_.features.size();
    if (is_whole) {
        const double *numbers = keeps_numbers_ ? given : values;
        return {values, slots, static_cast<int32_t>(width), numbers, true};
    }
    const auto spread = [&](const double *from, std::vector<double> &to) {
        to.assign(schema_.features.size(), kMissing);
        for (size_t j = 0; j < width; j++) {
            if (slots[j] >= 0) to[static_cast<size_t>(slots[j])] = from[j];
        }
        return to.data();
    };
    order_.clear();
    std::copy_if(slots, slots + width, std::back_inserter(order_),
                 [](int slot) { return slot >= 0; });
    const double *dense = spread(values, dense_);
    const double *numbers = keeps_numbers_ && given != values ? spread(given, numbers_) : dense;
    return {dense, order_.data(), static_cast<int32_t>(order_.size()), numbers, false};
}

int32_t Events::find_class(PyObject *label) const { return classes_.find(label); }

bool Events::restore() {
    for (const Feature &feature : schema_.features) {
        const Ref name(object_of(feature.name));
        if (!name || names_.add(name.get()) < 0) return false;
        text_codes_.emplace_back();
        usual_texts_.emplace_back();
        number_codes_.emplace_back();
        has_nominals_ |= feature.is_nominal();
        for (const Name &category : feature.categories) {
            has_room(category.text.size());
            if (!category.is_text()) {
                const auto code = static_cast<int32_t>(number_codes_.back().size());
                number_codes_.back().emplace(category.number, code);
                continue;
            }
            const Ref text(object_of(category));
            if (!text || text_codes_.back().add(text.get()) < 0) return false;
        }
    }
    for (const Name &cls : schema_.classes) {
        const Ref label(object_of(cls));
        if (!label || classes_.add(label.get()) < 0) return false;
    }
    note_kinds();
    return true;
}

bool Events::fail(int before) {
    names_.shrink(before);
    columns_ = Columns();
    const auto n = static_cast<size_t>(before);
    if (schema_.features.size() > n) {
        schema_.features.resize(n);
        text_codes_.resize(n);
        usual_texts_.resize(n);
        number_codes_.resize(n);
    }
    return false;
}

bool Events::add_features(int before) {
    for (int slot = before; slot < names_.size(); slot++) {
        Feature feature;
        if (!name_of(names_.name(slot), feature.name)) return false;
        schema_.features.push_back(std::move(feature));
        text_codes_.emplace_back();
        usual_texts_.emplace_back();
        number_codes_.emplace_back();
    }
    return true;
}

// Whether all values are of the kind of their features; what is not, `check_kinds` names.
bool Events::are_kinds_known() const {
    if (is_array_) return false;
    const int *slots = rows_.slots(0);
    PyObject *const *texts = rows_.texts(0);
    bool are_known = true;
    for (size_t k = 0; k < rows_.n_values(); k++) {
        if (slots[k] < 0) continue;
        are_known &= (texts[k] != nullptr) == (is_text_[static_cast<size_t>(slots[k])] != 0);
    }
    return are_known;
}

void Events::note_kinds() {
    is_text_.clear();
    for (const Feature &feature : schema_.features) {
        is_text_.push_back(feature.kind == Feature::Kind::kTextCategory);
        has_number_categories_ |= feature.kind == Feature::Kind::kNumberCategory;
    }
}

// A feature's first value decides what it is; it stays that.
bool Events::check_kinds(int before) {
    std::vector<char> is_decided;
    is_decided.resize(schema_.features.size() - static_cast<size_t>(before));
    const auto decide = [&](size_t at, bool is_text) {
        Feature &feature = schema_.features[at];
        const bool is_nominal =
            std::any_of(nominals.begin(), nominals.end(),
                        [&](const Name &name) { return is_same(name, feature.name); });
        feature.kind = is_text      ? Feature::Kind::kTextCategory
                       : is_nominal ? Feature::Kind::kNumberCategory
                                    : Feature::Kind::kNumber;
        has_nominals_ |= feature.is_nominal();
    };
    const auto check = [&](size_t at, bool is_text) {
        if (is_text && !takes_text_) {
            PyErr_Format(PyExc_TypeError, "feature %R is text: this model takes numbers",
                         names_.name(static_cast<int>(at)));
            return false;
        }
        if (at >= static_cast<size_t>(before)) {
            char &decided = is_decided[at - static_cast<size_t>(before)];
            if (!decided) decide(at, is_text);
            decided = 1;
        }
        const bool was_text = schema_.features[at].kind == Feature::Kind::kTextCategory;
        // For a prediction, a number among texts is one more category that was never learned.
        if (was_text == is_text || (was_text && !learns_)) return true;
        PyErr_Format(PyExc_TypeError, "feature %R is %s: it has been %s so far",
                     names_.name(static_cast<int>(at)), is_text ? "text" : "a number",
                     is_text ? "a number" : "text");
        return false;
    };
    if (is_array_) {
        for (Py_ssize_t j = 0; j < array_->size(1) && n_array_rows_ > 0; j++) {
            const int slot = columns_.slots()[j];
            if (slot >= 0 && !check(static_cast<size_t>(slot), false)) return false;
        }
        return true;
    }
    for (size_t i = 0; i < rows_.size(); i++) {
        for (size_t j = 0; j < rows_.width(i); j++) {
            const int slot = rows_.slots(i)[j];
            if (slot < 0) continue;
            if (check(static_cast<size_t>(slot), rows_.texts(i)[j] != nullptr)) continue;
            if (rows_.size() > 1) name_row(static_cast<Py_ssize_t>(i));
            return false;
        }
    }
    return true;
}

// Replace categories by their codes. Those of an array that is only predicted for are looked up.
bool Events::add_categories() {
    if (is_array_) {
        array_codes_.clear();
        const auto width = static_cast<size_t>(array_->size(1));
        for (size_t j = 0; j < width; j++) {
            const int slot = columns_.slots()[j];
            if (slot < 0 || !schema_.features[static_cast<size_t>(slot)].is_nominal()) continue;
            const double *data = array_->data<double>();
            if (array_codes_.empty()) array_codes_.assign(data, data + n_array_rows_ * width);
            for (size_t i = 0; i < n_array_rows_; i++) {
                double &value = array_codes_[i * width + j];
                value = code_of_number(static_cast<size_t>(slot), value, learns_);
            }
        }
        return true;
    }
    for (size_t k = 0; k < rows_.n_values(); k++) {
        const auto at = static_cast<size_t>(rows_.slots(0)[k]);
        double &value = rows_.values(0)[k];
        if (is_text_[at]) {
            value = code_of_text(at, rows_.texts(0)[k], true);
            if (value == Names::kFailed) return false;
        } else if (has_number_categories_ && schema_.features[at].is_nominal()) {
            value = code_of_number(at, value, true);
        }
    }
    return true;
}

// A label as a plain bool, int, float or str.
bool Events::check_label(PyObject *label, Ref &plain) const {
    if (PyBool_Check(label) || PyLong_CheckExact(label) || PyUnicode_CheckExact(label)) {
        plain = Ref::borrow(label);
    } else if (PyFloat_Check(label)) {
        plain = Ref(PyFloat_FromDouble(PyFloat_AS_DOUBLE(label)));
    } else if (PyUnicode_Check(label)) {
        plain = Ref(PyUnicode_FromObject(label));
    } else if (PyIndex_Check(label)) {
        plain = Ref(PyNumber_Index(label));
    } else if (std::strncmp(Py_TYPE(label)->tp_name, "numpy.bool", 10) == 0) {
        const int truth = PyObject_IsTrue(label);
        plain = Ref(truth < 0 ? nullptr : PyBool_FromLong(truth));
    } else {
        PyErr_Format(PyExc_TypeError, "the label is %R: classes are bool, int, float or str",
                     label);
    }
    if (!plain) return false;
    if (!takes_classes_) {
        PyErr_Format(PyExc_ValueError, "the label is %R: it must be True or False", label);
        return false;
    }
    const bool is_text = PyUnicode_Check(plain.get());
    if (!is_text && !PyBool_Check(plain.get())) {
        constexpr double kExactMax = 9007199254740992.0;  // 2 ** 53
        double number = PyFloat_AsDouble(plain.get());
        if (number == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            number = HUGE_VAL;
        }
        if (!(std::fabs(number) < kExactMax)) {
            PyErr_Format(PyExc_ValueError, "the label is %R: numbers must be below 2**53", label);
            return false;
        }
    }
    const bool is_first = schema_.classes.empty() && plain_labels_.empty();
    if (is_first) return true;
    const bool was_text = schema_.classes.empty() ? PyUnicode_Check(plain_labels_[0].get())
                                                  : schema_.classes[0].is_text();
    if (is_text == was_text) return true;
    PyErr_Format(PyExc_TypeError, "the label is %R: classes have been %s so far", label,
                 was_text ? "text" : "numbers");
    return false;
}

bool Events::add_labels() {
    if (plain_labels_.empty()) return true;
    std::vector<int32_t> ids;
    for (const Ref &label : plain_labels_) {
        int id = classes_.find(label.get());
        if (id == Names::kUnknown) {
            Name name;
            if (!name_of(label.get(), name)) return false;
            id = classes_.add(label.get());
            if (id < 0) return false;
            schema_.classes.push_back(std::move(name));
            schema_.index();
        }
        ids.push_back(id);
    }
    for (int32_t &label : labels_) {
        if (label < 0) label = ids[static_cast<size_t>(-1 - label)];
    }
    return true;
}

// Whether there is nothing but numbers, known to be such.
bool Events::is_plain() const { return !has_nominals_ && !is_array_ && !rows_.has_text(); }

// Once a feature is nominal, every batch comes by here.
void Events::keep_given() {
    given_.clear();
    if (!keeps_numbers_ || !has_nominals_ || is_array_ || rows_.size() == 0) return;
    const size_t last = rows_.size() - 1;
    given_.assign(rows_.values(0), rows_.values(last) + rows_.width(last));
}

int32_t Events::code_of_text(size_t feature, PyObject *text, bool may_add) {
    const int usual = usual_texts_[feature].find(text);
    if (usual >= 0) return usual;
    Names &codes = text_codes_[feature];
    int code = codes.find(text);
    if (code == Names::kUnknown && may_add) {
        Name name;
        if (!name_of(text, name)) return Names::kFailed;
        if (!has_room(name.text.size())) return Names::kUnknown;
        code = codes.add(text);
        if (code >= 0) schema_.features[feature].categories.push_back(std::move(name));
    }
    if (code >= 0) usual_texts_[feature].keep(text, code);
    return code;
}

int32_t Events::code_of_number(size_t feature, double number, bool may_add) {
    auto &codes = number_codes_[feature];
    const auto known = codes.find(number);
    if (known != codes.end()) return known->second;
    if (!may_add || !has_room(0)) return Names::kUnknown;
    const auto code = static_cast<int32_t>(codes.size());
    codes.emplace(number, code);
    Name name;
    name.kind = Name::Kind::kFloat;
    name.number = number;
    schema_.features[feature].categories.push_back(std::move(name));
    return code;
}

// Counts a category of so many letters, if it fits.
bool Events::has_room(size_t n_letters) {
    // Its name here, the str and its place in a dict there.
    constexpr double kEach = sizeof(Name) + 160.0;
    const double bytes = kEach + 2.0 * static_cast<double>(n_letters);
    if (category_bytes_ + bytes > category_bytes_max) return false;
    category_bytes_ += bytes;
    return true;
}

}  // namespace driftline
