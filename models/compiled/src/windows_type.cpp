// WindowKernel: the Python type over the features of an entity's past, a batch of events at a time.
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>

#include "arguments.hpp"
#include "features.hpp"
#include "hashes.hpp"
#include "windows.hpp"

namespace driftline {

namespace {

static_assert(offsetof(PyBytesObject, ob_sval) % kWord == 0, "words of bytes are aligned");

struct Model {
    Plan plan;
    // Where a row has the numbers, and what is to be told apart.
    std::vector<Py_ssize_t> value_places, distinct_places;
};

using Self = Holder<Model>;

// Events of a batch, read and checked before any is counted.
struct Batch {
    Ref entities;
    std::vector<double> times;
    std::vector<uint64_t> ids;
    // Those of all columns, event by event.
    std::vector<uint64_t> words;

    PyObject *entity(size_t i) const {
        return PyTuple_GET_ITEM(entities.get(), static_cast<Py_ssize_t>(i));
    }
};

bool hash_text(PyObject *text, uint64_t &out) {
    Py_ssize_t n = 0;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &n);
    if (bytes == nullptr) return false;
    out = blake2b_64(reinterpret_cast<const unsigned char *>(bytes), static_cast<size_t>(n));
    return true;
}

PyObject *hash_of(PyObject *, PyObject *text) {
    uint64_t hash = 0;
    return hash_text(text, hash) ? PyLong_FromUnsignedLongLong(hash) : nullptr;
}

bool read_time(PyObject *object, double &out) { return parse_finite("the time", object, out); }

bool read_id(PyObject *object, uint64_t &out) {
    out = PyLong_AsUnsignedLongLong(object);
    return out != static_cast<uint64_t>(-1) || !PyErr_Occurred();
}

bool read_value(PyObject *object, uint64_t &out) {
    const double value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred()) return false;
    if (!(std::fabs(value) <= kNumberMax)) {
        PyErr_Format(PyExc_ValueError, "%R is not a number that windows can take", object);
        return false;
    }
    std::memcpy(&out, &value, sizeof out);
    return true;
}

bool read_distinct(PyObject *object, uint64_t &out) {
    const Ref text(PyObject_Str(object));
    return text && hash_text(text.get(), out);
}

// The columns' words of one event.
bool read_row(const Model &model, PyObject *row, std::vector<uint64_t> &words) {
    const Ref values(PySequence_Tuple(row));
    if (!values) return false;
    const auto read = [&](Py_ssize_t place, auto &&reader) {
        if (place >= PyTuple_GET_SIZE(values.get())) {
            PyErr_SetString(PyExc_IndexError, "the event has fewer values than there are fields");
            return false;
        }
        uint64_t word = 0;
        if (!reader(PyTuple_GET_ITEM(values.get(), place), word)) return false;
        words.push_back(word);
        return true;
    };
    for (const Py_ssize_t place : model.value_places) {
        if (!read(place, read_value)) return false;
    }
    for (const Py_ssize_t place : model.distinct_places) {
        if (!read(place, read_distinct)) return false;
    }
    return true;
}

bool is_whole(PyObject *bytes) {
    return History::is_whole(PyBytes_AS_STRING(bytes),
                             static_cast<size_t>(PyBytes_GET_SIZE(bytes)));
}

// Whether all histories of a batch can be read. To be asked last: reading values may run any code.
bool check_histories(PyObject *histories, PyObject *entities) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(entities); i++) {
        PyObject *entity = PyTuple_GET_ITEM(entities, i);
        PyObject *bytes = PyDict_GetItemWithError(histories, entity);
        if (bytes == nullptr) {
            if (PyErr_Occurred()) return false;
        } else if (!PyBytes_CheckExact(bytes) || !is_whole(bytes)) {
            PyErr_Format(PyExc_ValueError, "the history of %R is damaged", entity);
            return false;
        }
    }
    return true;
}

template <typename Item, typename Reader>
bool read_all(PyObject *sequence, Py_ssize_t n, std::vector<Item> &out, Reader &&reader) {
    const Ref items(PySequence_Tuple(sequence));
    if (!items) return false;
    if (PyTuple_GET_SIZE(items.get()) != n) {
        PyErr_SetString(PyExc_ValueError, "the columns of the batch differ in length");
        return false;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        Item item;
        if (!reader(PyTuple_GET_ITEM(items.get(), i), item)) return false;
        out.push_back(item);
    }
    return true;
}

// Reads the columns of a batch, with all that may be refused.
bool read_batch(const Model &model, PyObject *histories, PyObject *const *columns, Batch &batch) {
    batch.entities = Ref(PySequence_Tuple(columns[0]));
    if (!batch.entities) return false;
    const Py_ssize_t n = PyTuple_GET_SIZE(batch.entities.get());
    if (!read_all(columns[1], n, batch.times, read_time) ||
        !read_all(columns[2], n, batch.ids, read_id)) {
        return false;
    }
    const Ref rows(PySequence_Tuple(columns[3]));
    if (!rows) return false;
    if (PyTuple_GET_SIZE(rows.get()) != n) {
        PyErr_SetString(PyExc_ValueError, "the columns of the batch differ in length");
        return false;
    }
    const size_t width = model.plan.n_columns;
    batch.words.reserve(static_cast<size_t>(n) * width);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *entity = PyTuple_GET_ITEM(batch.entities.get(), i);
        if (entity == Py_None) {
            batch.words.resize(batch.words.size() + width);
        } else if (!PyUnicode_CheckExact(entity)) {
            PyErr_Format(PyExc_TypeError, "%R does not name an entity", entity);
            return false;
        } else if (!read_row(model, PyTuple_GET_ITEM(rows.get(), i), batch.words)) {
            return false;
        }
    }
    return check_histories(histories, batch.entities.get());
}

PyObject *to_list(const std::vector<FeatureValue> &row) {
    Ref list(PyList_New(static_cast<Py_ssize_t>(row.size())));
    if (!list) return nullptr;
    for (size_t i = 0; i < row.size(); i++) {
        PyObject *value = nullptr;
        switch (row[i].kind) {
            case FeatureValue::Kind::kNumber: value = PyFloat_FromDouble(row[i].value); break;
            case FeatureValue::Kind::kBoolean: value = PyBool_FromLong(row[i].value != 0.0); break;
            case FeatureValue::Kind::kMissing: value = Py_NewRef(Py_None); break;
        }
        if (value == nullptr) return nullptr;
        PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), value);
    }
    return list.release();
}

// Leads a batch over the histories, which stay as they are: what changes is in a dict of its own.
class Pass {
   public:
    Pass(const Plan &plan, PyObject *histories, double clock)
        : clock(clock), changed(PyDict_New()), plan_(plan), histories_(histories), reader_(plan) {}

    // Counts an event in, unless it has been before, and gives its features.
    PyObject *observe(PyObject *entity, double time, uint64_t id, const uint64_t *words) {
        if (time > clock) clock = time;
        n_late += time < clock - plan_.lateness;
        row_.clear();
        if (entity == Py_None) {
            row_.resize(plan_.width(), {FeatureValue::Kind::kMissing, 0.0});
            return to_list(row_);
        }
        const double low = clock - plan_.horizon;
        PyObject *data = PyDict_GetItemWithError(changed.get(), entity);
        if (data == nullptr && !PyErr_Occurred()) {
            data = PyDict_GetItemWithError(histories_, entity);
        }
        if (data == nullptr && PyErr_Occurred()) return nullptr;
        const History history =
            data == nullptr ? History(plan_) : History(plan_, PyBytes_AS_STRING(data));
        const size_t place = history.find(id);
        if (place < history.n_events() && history.times()[place] > low) {
            reader_.read(history, place, time, words, row_);
            return to_list(row_);
        }
        n_dropped += history.n_events() >= plan_.events_max && history.times()[0] > low;
        const Insertion insertion(plan_, history, time, low);
        const Ref bytes(
            PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(insertion.n_bytes())));
        if (!bytes) return nullptr;
        insertion.write(time, id, words, PyBytes_AS_STRING(bytes.get()));
        const History next = insertion.written(PyBytes_AS_STRING(bytes.get()));
        reader_.read(next, insertion.place(), time, words, row_);
        // What is older than all that may be kept is seen in its own windows alone.
        const bool kept = time > low && insertion.n_events() <= plan_.events_max;
        return kept && !put(entity, bytes.get()) ? nullptr : to_list(row_);
    }

    double clock;
    Ref changed;
    size_t n_late = 0, n_dropped = 0;

   private:
    // The order of the dict is that of the last changes.
    bool put(PyObject *entity, PyObject *bytes) {
        const int there = PyDict_Contains(changed.get(), entity);
        if (there < 0 || (there && PyDict_DelItem(changed.get(), entity) < 0)) return false;
        return PyDict_SetItem(changed.get(), entity, bytes) == 0;
    }

    const Plan &plan_;
    PyObject *histories_;
    Reader reader_;
    std::vector<FeatureValue> row_;
};

// observe(histories, time, entities, times, hashes, rows)
PyObject *observe(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                  PyObject *keywords) {
    PyObject *values[6] = {nullptr};
    if (!parse_arguments("observe", {"histories", "time", "entities", "times", "hashes", "rows"}, 6,
                         arguments, n, keywords, values)) {
        return nullptr;
    }
    if (!PyDict_CheckExact(values[0])) {
        PyErr_SetString(PyExc_TypeError, "the histories must be a dict");
        return nullptr;
    }
    const double clock = PyFloat_AsDouble(values[1]);
    if (clock == -1.0 && PyErr_Occurred()) return nullptr;
    return Self::with_model(object, [&](const Model &model) -> PyObject * {
        Batch batch;
        if (!read_batch(model, values[0], values + 2, batch)) return nullptr;
        Pass pass(model.plan, values[0], clock);
        const Ref rows(PyList_New(static_cast<Py_ssize_t>(batch.times.size())));
        if (!rows || !pass.changed) return nullptr;
        for (size_t i = 0; i < batch.times.size(); i++) {
            const uint64_t *words = batch.words.data() + i * model.plan.n_columns;
            PyObject *row = pass.observe(batch.entity(i), batch.times[i], batch.ids[i], words);
            if (row == nullptr) return nullptr;
            PyList_SET_ITEM(rows.get(), static_cast<Py_ssize_t>(i), row);
        }
        return Py_BuildValue("OOdnn", rows.get(), pass.changed.get(), pass.clock,
                             static_cast<Py_ssize_t>(pass.n_late),
                             static_cast<Py_ssize_t>(pass.n_dropped));
    });
}

bool read_places(PyObject *sequence, std::vector<Py_ssize_t> &out) {
    const Ref places(PySequence_Tuple(sequence));
    for (Py_ssize_t i = 0; places && i < PyTuple_GET_SIZE(places.get()); i++) {
        const Py_ssize_t place = PyLong_AsSsize_t(PyTuple_GET_ITEM(places.get(), i));
        if (place < 0) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a place is negative");
            return false;
        }
        out.push_back(place);
    }
    return static_cast<bool>(places);
}

bool read_lengths(PyObject *sequence, std::vector<double> &out) {
    const Ref lengths(PySequence_Tuple(sequence));
    return lengths && read_all(lengths.get(), PyTuple_GET_SIZE(lengths.get()), out, read_time);
}

// (windows, statistics as numbers, column, distinct, current, since_last, first_seen)
bool read_window(const Plan &plan, PyObject *tuple, WindowPlan &out) {
    PyObject *windows, *stats;
    int current, since_last, first_seen;
    if (!PyArg_ParseTuple(tuple, "OOiippp", &windows, &stats, &out.column, &out.distinct, &current,
                          &since_last, &first_seen)) {
        return false;
    }
    out.current = current;
    out.since_last = since_last;
    out.first_seen = first_seen;
    std::vector<Py_ssize_t> numbers;
    if (!read_lengths(windows, out.windows) || !read_places(stats, numbers)) return false;
    bool fits = out.column < static_cast<int>(plan.n_values) && out.distinct < plan.n_columns;
    for (const Py_ssize_t number : numbers) {
        fits = fits && number < kNStats;
        out.stats.push_back(static_cast<Stat>(number));
        fits = fits && (out.stats.back() != Stat::kDistinct || out.distinct >= 0);
    }
    fits = fits && (out.counts_only() || out.column >= 0);
    if (!fits) PyErr_SetString(PyExc_ValueError, "a window's statistics have no such column");
    return fits;
}

bool read_risk(PyObject *tuple, RiskPlan &out) {
    PyObject *windows;
    return PyArg_ParseTuple(tuple, "Od", &windows, &out.delay) &&
           read_lengths(windows, out.windows);
}

template <typename Part, typename Reader>
bool read_parts(PyObject *sequence, std::vector<Part> &out, Reader &&reader) {
    const Ref parts(PySequence_Tuple(sequence));
    for (Py_ssize_t i = 0; parts && i < PyTuple_GET_SIZE(parts.get()); i++) {
        Part part;
        PyObject *given = PyTuple_GET_ITEM(parts.get(), i);
        if (!PyTuple_Check(given)) {
            PyErr_Format(PyExc_TypeError, "%R is no tuple: windows and risks are", given);
            return false;
        }
        if (!reader(given, part)) return false;
        out.push_back(std::move(part));
    }
    return static_cast<bool>(parts);
}

bool read_model(PyObject *arguments, Model &model) {
    PyObject *values, *distincts, *windows, *risks;
    int layout;
    Py_ssize_t events_max;
    Plan &plan = model.plan;
    if (!PyArg_ParseTuple(arguments, "OOOOddni", &values, &distincts, &windows, &risks,
                          &plan.horizon, &plan.lateness, &events_max, &layout) ||
        !read_places(values, model.value_places) ||
        !read_places(distincts, model.distinct_places)) {
        return false;
    }
    const size_t n_columns = model.value_places.size() + model.distinct_places.size();
    constexpr size_t kMax = UINT16_MAX;  // What a head can hold.
    if (events_max < 1 || static_cast<size_t>(events_max) > kMax || n_columns > kMax) {
        PyErr_SetString(PyExc_ValueError, "a history holds 1 to 65535 events, and columns");
        return false;
    }
    plan.events_max = static_cast<size_t>(events_max);
    plan.layout = static_cast<uint16_t>(layout);
    plan.n_columns = static_cast<uint16_t>(n_columns);
    plan.n_values = model.value_places.size();
    const auto window = [&plan](PyObject *tuple, WindowPlan &out) {
        return read_window(plan, tuple, out);
    };
    return read_parts(windows, plan.windows, window) && read_parts(risks, plan.risks, read_risk);
}

// WindowKernel(values, distincts, windows, risks, horizon, lateness, events_max, layout): places of
// the columns in a row, then what to compute.
int initialize(PyObject *object, PyObject *arguments, PyObject *) {
    const Ref done(Self::replace_model(object, [&]() -> std::unique_ptr<Model> {
        auto model = std::make_unique<Model>();
        return read_model(arguments, *model) ? std::move(model) : nullptr;
    }));
    return done ? 0 : -1;
}

PyMethodDef methods[] = {
    {"observe", fast_method(observe), kFastKeywords,
     "observe($self, histories, time, entities, times, hashes, rows)\n--\n\n"
     "Lead a batch of events over histories; give rows, changed histories, the new time, and how "
     "many were late and dropped. The histories stay as they are."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void *>(Self::create)},
    {Py_tp_init, reinterpret_cast<void *>(initialize)},
    {Py_tp_dealloc, reinterpret_cast<void *>(Self::destroy)},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {"models.compiled._native.WindowKernel", sizeof(Self), 0, Py_TPFLAGS_DEFAULT,
                    slots};

// The values under their names, without those that are missing. `blank` has the names in their order:
// a copy of it is made at once, where a dict that grows is made anew time and again.
PyObject *name_values(PyObject *, PyObject *const *arguments, Py_ssize_t n) {
    if (n != 3 || !PyTuple_CheckExact(arguments[0]) || !PyDict_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "name_values() takes a tuple, a dict and values");
        return nullptr;
    }
    PyObject *names = arguments[0];
    const Ref values(PySequence_Tuple(arguments[2]));
    if (!values) return nullptr;
    const Py_ssize_t width = PyTuple_GET_SIZE(names);
    if (PyTuple_GET_SIZE(values.get()) != width) {
        PyErr_Format(PyExc_ValueError, "%zd values for %zd names", PyTuple_GET_SIZE(values.get()),
                     width);
        return nullptr;
    }
    bool whole = true;
    for (Py_ssize_t i = 0; i < width; i++) {
        whole = whole && PyTuple_GET_ITEM(values.get(), i) != Py_None;
    }
    Ref named(whole ? PyDict_Copy(arguments[1]) : PyDict_New());
    for (Py_ssize_t i = 0; named && i < width; i++) {
        PyObject *value = PyTuple_GET_ITEM(values.get(), i);
        if (value == Py_None) continue;
        if (PyDict_SetItem(named.get(), PyTuple_GET_ITEM(names, i), value) < 0) return nullptr;
    }
    return named.release();
}

PyObject *newest_of(PyObject *, PyObject *bytes) {
    if (!PyBytes_CheckExact(bytes) || !is_whole(bytes)) {
        PyErr_SetString(PyExc_ValueError, "the history is damaged");
        return nullptr;
    }
    return PyFloat_FromDouble(History::newest(PyBytes_AS_STRING(bytes)));
}

PyMethodDef functions[] = {
    {"hash_of", hash_of, METH_O, "hash_of(text)\n--\n\nHash a text to 64 bits."},
    {"name_values", fast_method(name_values), METH_FASTCALL,
     "name_values(names, blank, values)\n--\n\nName values; missing ones are left out."},
    {"newest_of", newest_of, METH_O,
     "newest_of(data)\n--\n\nGive the time of the newest event that a history is about."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

int add_windows(PyObject *module) {
    const Ref type(PyType_FromSpec(&spec));
    if (!type || PyModule_AddFunctions(module, functions) < 0) return -1;
    return PyModule_AddObjectRef(module, "WindowKernel", type.get());
}

}  // namespace driftline
