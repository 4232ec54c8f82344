// HalfSpaceKernel: the Python type over half-space trees.
#include <cmath>
#include <memory>

#include "arguments.hpp"
#include "columns.hpp"
#include "dump.hpp"
#include "half_space.hpp"

namespace driftline {

namespace {

constexpr char kKind[] = "HalfSpaceTrees";

struct Model {
    HalfSpace trees;
    // The limits that were asked for; other features have the default.
    Names limited;
    std::vector<Limits> limits;
    // Those of the first event: trees know no others.
    Names features;
    // Kept between calls for their memory.
    Rows rows;
    // Scalers give NaN for a feature that they have not learned; to a score it is missing.
    Rows asked{false, true};
    Columns columns;
    std::vector<double> dense;

    const double *spread(const int *slots, const double *values, size_t n) {
        dense.assign(static_cast<size_t>(features.size()), std::nan(""));
        for (size_t j = 0; j < n; j++) {
            if (slots[j] >= 0) dense[static_cast<size_t>(slots[j])] = values[j];
        }
        return dense.data();
    }
    const double *row(const Rows &from, size_t i) {
        return spread(from.slots(i), from.values(i), from.width(i));
    }
};

using Self = Holder<Model>;

// The slots of the features in the order of their sorted names; River's trees are drawn from that.
bool sort_features(const Names &features, std::vector<int32_t> &sorted) {
    Ref names(PyList_New(0));
    for (int slot = 0; names && slot < features.size(); slot++) {
        if (PyList_Append(names.get(), features.name(slot)) < 0) return false;
    }
    if (!names || PyList_Sort(names.get()) < 0) return false;
    for (int i = 0; i < features.size(); i++) {
        sorted.push_back(features.find(PyList_GET_ITEM(names.get(), i)));
    }
    return true;
}

// Draws the trees over `features`.
bool plant(Model &model) {
    double range = 0.0;
    model.trees.limits.clear();
    for (int slot = 0; slot < model.features.size(); slot++) {
        const int at = model.limited.find(model.features.name(slot));
        if (at == Names::kFailed) return false;
        const Limits limits = at < 0 ? Limits() : model.limits[static_cast<size_t>(at)];
        model.trees.limits.push_back(limits);
        range += limits.high - limits.low;
    }
    if (!(range > 0.0)) {
        PyErr_SetString(PyExc_ValueError,
                        "trees are drawn from the first event: it needs a feature whose limits are "
                        "apart");
        return false;
    }
    std::vector<int32_t> sorted;
    if (!sort_features(model.features, sorted)) return false;
    model.trees.plant(sorted);
    return true;
}

// A model that was planted for a batch which is then refused is fresh again.
class Planting {
   public:
    explicit Planting(Model &model) : model_(model), undo_(!model.trees.is_planted()) {}
    Planting(const Planting &) = delete;
    Planting &operator=(const Planting &) = delete;
    ~Planting() {
        if (!undo_) return;
        model_.trees.uproot();
        model_.features.shrink(0);
        model_.rows = Rows();
        model_.asked = Rows(false, true);
        model_.columns = Columns();
    }
    void keep() { undo_ = false; }

   private:
    Model &model_;
    bool undo_;
};

// Reads dicts for learning; the first ever event decides the features.
bool read_and_plant(Model &model, PyObject *dicts) {
    if (!model.trees.is_planted() && PyTuple_GET_SIZE(dicts) > 0) {
        model.rows.clear();
        if (model.rows.append(model.features, PyTuple_GET_ITEM(dicts, 0)) < 0 ||
            model.rows.learn_names(model.features) < 0 || !plant(model)) {
            return false;
        }
    }
    model.rows.clear();
    return model.rows.append_all(model.features, dicts) == 0;
}

PyObject *learn_all(Model &model, PyObject *dicts) {
    Planting planting(model);
    if (!read_and_plant(model, dicts)) return nullptr;
    planting.keep();
    for (size_t i = 0; i < model.rows.size(); i++) model.trees.learn(model.row(model.rows, i));
    Py_RETURN_NONE;
}

PyObject *learn_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                    PyObject *keywords) {
    PyObject *x[1] = {nullptr};
    if (!parse_arguments("learn_one", {"x"}, 1, arguments, n, keywords, x)) return nullptr;
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        if (model.trees.is_planted()) {
            model.rows.clear();
            if (model.rows.append(model.features, x[0]) < 0) return nullptr;
            model.trees.learn(model.row(model.rows, 0));
            Py_RETURN_NONE;
        }
        const Ref dicts(PyTuple_Pack(1, x[0]));
        return dicts ? learn_all(model, dicts.get()) : nullptr;
    });
}

PyObject *learn_dicts(PyObject *object, PyObject *xs) {
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const Ref dicts(PySequence_Tuple(xs));
        return dicts ? learn_all(model, dicts.get()) : nullptr;
    });
}

PyObject *score_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                    PyObject *keywords) {
    PyObject *x[1] = {nullptr};
    if (!parse_arguments("score_one", {"x"}, 1, arguments, n, keywords, x)) return nullptr;
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        model.asked.clear();
        if (model.asked.append(model.features, x[0]) < 0) return nullptr;
        return PyFloat_FromDouble(model.trees.score(model.row(model.asked, 0)));
    });
}

PyObject *score_dicts(PyObject *object, PyObject *xs) {
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const Ref dicts(PySequence_Tuple(xs));
        if (!dicts) return nullptr;
        model.asked.clear();
        if (model.asked.append_all(model.features, dicts.get()) < 0) return nullptr;
        Ref found(PyList_New(PyTuple_GET_SIZE(dicts.get())));
        for (size_t i = 0; found && i < model.asked.size(); i++) {
            PyObject *score = PyFloat_FromDouble(model.trees.score(model.row(model.asked, i)));
            if (score == nullptr) return nullptr;
            PyList_SET_ITEM(found.get(), static_cast<Py_ssize_t>(i), score);
        }
        return found.release();
    });
}

// _run_array(X, names, learns, out): out may be None; each row is scored, then learned.
PyObject *run_array(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                    PyObject *keywords) {
    PyObject *values[4] = {nullptr, nullptr, nullptr, nullptr};
    if (!parse_arguments("_run_array", {"X", "names", "learns", "out"}, 4, arguments, n, keywords,
                         values)) {
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        Array x, out;
        const bool learns = values[2] == Py_True, scores = values[3] != Py_None;
        if (!x.open("X", values[0], "d", 2)) return nullptr;
        const Py_ssize_t n_rows = x.size(0), width = x.size(1);
        if (scores && !out.open("out", values[3], "d", 1, true)) return nullptr;
        if (scores && out.size(0) != n_rows) {
            PyErr_SetString(PyExc_ValueError, "out and X differ in length");
            return nullptr;
        }
        if (check_numbers(x.data<double>(), n_rows, width) < 0) return nullptr;
        Planting planting(model);
        if (model.columns.open(model.features, values[1], width) < 0) return nullptr;
        if (learns && !model.trees.is_planted() && n_rows > 0 &&
            (model.columns.learn_names(model.features) < 0 || !plant(model))) {
            return nullptr;
        }
        if (model.trees.is_planted()) planting.keep();
        const WithoutGil without_gil;
        const double *row = x.data<double>();
        for (Py_ssize_t i = 0; i < n_rows; i++, row += width) {
            const double *spread =
                model.spread(model.columns.slots(), row, static_cast<size_t>(width));
            if (scores) out.data<double>()[i] = model.trees.score(spread);
            if (learns) model.trees.learn(spread);
        }
        return Py_NewRef(Py_None);
    });
}

PyObject *dump(PyObject *object, PyObject *) {
    return Self::with_model(object, [](Model &model) -> PyObject * {
        DumpWriter writer(kKind);
        Saver saver(writer);
        saver(model.trees.rules, model.trees.random);
        if (!writer.names(model.limited)) return nullptr;
        for (Limits &limits : model.limits) saver(limits);
        if (!writer.names(model.features)) return nullptr;
        if (model.trees.is_planted()) {
            size_t n_masses = 2 * static_cast<size_t>(model.trees.rules.n_leaves());
            saver.count(n_masses);
            model.trees.archive_masses(saver);
        }
        return writer.finish();
    });
}

bool load(Model &model, DumpReader &reader) {
    Loader loader(reader);
    loader(model.trees.rules, model.trees.random);
    if (!reader.names(model.limited)) return false;
    model.limits.resize(static_cast<size_t>(model.limited.size()));
    for (Limits &limits : model.limits) {
        loader(limits);
        loader.check(std::fabs(limits.low) <= kNumberMax && std::fabs(limits.high) <= kNumberMax &&
                     limits.low <= limits.high);
    }
    if (!reader.names(model.features)) return false;
    if (model.features.size() > 0) {
        // Before the trees are planted: so many must follow, a byte each.
        size_t n_masses = 0;
        loader.count(n_masses);
        loader.check(n_masses == 2 * static_cast<size_t>(model.trees.rules.n_leaves()));
        if (loader.failed() || !plant(model)) return false;
        model.trees.archive_masses(loader);
    }
    return reader.finished();
}

// Replaces parameters and state by those of a dump; on an error all stays as it was.
PyObject *restore(PyObject *object, PyObject *bytes) {
    return Self::replace_model(object, [&]() -> std::unique_ptr<Model> {
        auto found = std::make_unique<Model>();
        DumpReader reader(bytes, kKind);
        return load(*found, reader) ? std::move(found) : nullptr;
    });
}

PyObject *memory(PyObject *object, PyObject *) {
    return Self::with_model(object, [](Model &model) -> PyObject * {
        return PyLong_FromSize_t(model.trees.bytes());
    });
}

PyMethodDef methods[] = {
    {"learn_one", fast_method(learn_one), kFastKeywords,
     "learn_one($self, x)\n--\n\nUpdate the model with features."},
    {"score_one", fast_method(score_one), kFastKeywords,
     "score_one($self, x)\n--\n\nScore features: the higher, the stranger; at most 1."},
    {"learn_dicts", learn_dicts, METH_O,
     "learn_dicts($self, xs)\n--\n\n"
     "Learn a sequence of dicts, exactly as one after the other; all of them or, refused, none."},
    {"score_dicts", score_dicts, METH_O,
     "score_dicts($self, xs)\n--\n\nScore each of a sequence of dicts."},
    {"_run_array", fast_method(run_array), kFastKeywords, nullptr},
    {"dump", dump, METH_NOARGS,
     "dump($self)\n--\n\nWrite parameters and state as bytes, equal for equal models."},
    {"_restore", restore, METH_O, nullptr},
    {"_memory", memory, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

int add_half_space(PyObject *module) {
    return add_type<Model>(module, "models.compiled._native.HalfSpaceKernel", methods);
}

}  // namespace driftline
