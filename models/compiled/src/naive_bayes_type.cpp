// NaiveBayesKernel: the Python type over Gaussian naive Bayes.
#include <algorithm>

#include "arguments.hpp"
#include "columns.hpp"
#include "dump.hpp"
#include "naive_bayes.hpp"

namespace driftline {

namespace {

constexpr char kKind[] = "GaussianNB";

struct Model {
    NaiveBayes bayes;
    Names features, classes;
    // Kept between calls for their memory.
    Rows rows;
    Columns columns;
    std::vector<double> probabilities;

    size_t n_classes() const { return static_cast<size_t>(classes.size()); }
    void predict(size_t row) {
        probabilities.resize(n_classes());
        if (n_classes() == 0) return;
        bayes.predict(rows.slots(row), rows.values(row), rows.width(row), probabilities.data());
    }
};

using Self = Holder<Model>;

// A class as it is kept: a str, int or bool of Python's own; null with an exception set otherwise.
Ref read_class(PyObject *label) {
    if (PyUnicode_Check(label)) return Ref::borrow(label);
    if (PyIndex_Check(label)) {
        Ref integer(PyLong_Check(label) ? Ref::borrow(label).release() : PyNumber_Index(label));
        if (!integer || is_exact(integer.get())) return integer;
        PyErr_Format(PyExc_ValueError, "the label is %R: integers must be below 2**53", label);
        return Ref();
    }
    PyErr_Format(PyExc_ValueError, "the label is %R: classes are str, int or bool", label);
    return Ref();
}

bool learn_row(Model &model, size_t row, PyObject *label) {
    const int slot = model.classes.add(label);
    if (slot == Names::kFailed) return false;
    model.bayes.grow(model.n_classes(), static_cast<size_t>(model.features.size()));
    model.bayes.learn(static_cast<size_t>(slot), model.rows.slots(row), model.rows.values(row),
                      model.rows.width(row));
    return true;
}

PyObject *learn_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                    PyObject *keywords) {
    PyObject *values[2] = {nullptr, nullptr};
    if (!parse_arguments("learn_one", {"x", "y"}, 2, arguments, n, keywords, values)) {
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const Ref label = read_class(values[1]);
        if (!label) return nullptr;
        model.rows.clear();
        if (model.rows.append(model.features, values[0]) < 0 ||
            model.rows.learn_names(model.features) < 0 || !learn_row(model, 0, label.get())) {
            return nullptr;
        }
        Py_RETURN_NONE;
    });
}

// Reads one dict and predicts into `probabilities`; false with an exception set when it is refused.
bool predict(Model &model, PyObject *features) {
    model.rows.clear();
    if (model.rows.append(model.features, features) < 0) return false;
    model.predict(0);
    return true;
}

PyObject *predict_proba_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                            PyObject *keywords) {
    PyObject *features[1] = {nullptr};
    if (!parse_arguments("predict_proba_one", {"x"}, 1, arguments, n, keywords, features)) {
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        if (!predict(model, features[0])) return nullptr;
        Ref result(PyDict_New());
        for (size_t c = 0; result && c < model.n_classes(); c++) {
            const Ref p(PyFloat_FromDouble(model.probabilities[c]));
            PyObject *label = model.classes.name(static_cast<int>(c));
            if (!p || PyDict_SetItem(result.get(), label, p.get()) < 0) return nullptr;
        }
        return result.release();
    });
}

PyObject *predict_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                      PyObject *keywords) {
    PyObject *features[1] = {nullptr};
    if (!parse_arguments("predict_one", {"x"}, 1, arguments, n, keywords, features)) {
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        if (!predict(model, features[0])) return nullptr;
        if (model.n_classes() == 0) Py_RETURN_NONE;
        // The first of the likeliest, as Python's max.
        const auto &said = model.probabilities;
        const auto best = std::max_element(said.begin(), said.end()) - said.begin();
        return Ref::borrow(model.classes.name(static_cast<int>(best))).release();
    });
}

PyObject *learn_dicts(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                      PyObject *keywords) {
    PyObject *values[3] = {nullptr, nullptr, nullptr};
    if (!parse_arguments("learn_dicts", {"xs", "ys", "ws"}, 2, arguments, n, keywords, values)) {
        return nullptr;
    }
    if (values[2] != nullptr && values[2] != Py_None) {
        PyErr_SetString(PyExc_ValueError, "this model takes no weights");
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const Ref rows(PySequence_Tuple(values[0])), given(PySequence_Tuple(values[1]));
        if (!rows || !given) return nullptr;
        const Py_ssize_t n_rows = PyTuple_GET_SIZE(rows.get());
        if (PyTuple_GET_SIZE(given.get()) != n_rows) {
            PyErr_Format(PyExc_ValueError, "%zd labels for %zd rows",
                         PyTuple_GET_SIZE(given.get()), n_rows);
            return nullptr;
        }
        std::vector<Ref> labels;
        for (Py_ssize_t row = 0; row < n_rows; row++) {
            labels.push_back(read_class(PyTuple_GET_ITEM(given.get(), row)));
            if (!labels.back()) {
                name_row(row);
                return nullptr;
            }
        }
        model.rows.clear();
        if (model.rows.append_all(model.features, rows.get()) < 0) return nullptr;
        if (model.rows.learn_names(model.features) < 0) return nullptr;
        for (size_t row = 0; row < model.rows.size(); row++) {
            if (!learn_row(model, row, labels[row].get())) return nullptr;
        }
        Py_RETURN_NONE;
    });
}

PyObject *probabilities(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                        PyObject *keywords) {
    PyObject *values[2] = {nullptr, Py_True};
    if (!parse_arguments("probabilities", {"xs", "label"}, 1, arguments, n, keywords, values)) {
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const Ref rows(PySequence_Tuple(values[0]));
        if (!rows) return nullptr;
        const int slot = model.classes.find(values[1]);
        if (slot == Names::kFailed) return nullptr;
        model.rows.clear();
        if (model.rows.append_all(model.features, rows.get()) < 0) return nullptr;
        Ref result(PyList_New(PyTuple_GET_SIZE(rows.get())));
        for (size_t row = 0; result && row < model.rows.size(); row++) {
            double said = 0.0;
            if (slot != Names::kUnknown) {
                model.predict(row);
                said = model.probabilities[static_cast<size_t>(slot)];
            }
            PyObject *p = PyFloat_FromDouble(said);
            if (p == nullptr) return nullptr;
            PyList_SET_ITEM(result.get(), static_cast<Py_ssize_t>(row), p);
        }
        return result.release();
    });
}

// _predict_array(X, names, out): the probabilities of each class, in the order of `classes`.
PyObject *predict_array(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                        PyObject *keywords) {
    PyObject *values[3] = {nullptr, nullptr, nullptr};
    if (!parse_arguments("_predict_array", {"X", "names", "out"}, 3, arguments, n, keywords,
                         values)) {
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        Array x, out;
        if (!x.open("X", values[0], "d", 2) || !out.open("out", values[2], "d", 2, true)) {
            return nullptr;
        }
        const Py_ssize_t n_rows = x.size(0), n_columns = x.size(1);
        if (out.size(0) != n_rows || out.size(1) != model.classes.size()) {
            PyErr_SetString(PyExc_ValueError, "out must have a row for each of X, and all classes");
            return nullptr;
        }
        if (check_numbers(x.data<double>(), n_rows, n_columns) < 0) return nullptr;
        if (model.columns.open(model.features, values[1], n_columns) < 0) return nullptr;
        {
            const WithoutGil without_gil;
            for (Py_ssize_t row = 0; row < n_rows && model.n_classes() > 0; row++) {
                model.bayes.predict(model.columns.slots(), x.data<double>() + row * n_columns,
                                    static_cast<size_t>(n_columns),
                                    out.data<double>() + row * out.size(1));
            }
        }
        Py_RETURN_NONE;
    });
}

PyObject *classes(PyObject *object, void *) {
    const Model &model = *Self::of(object)->model;
    Ref result(PyList_New(0));
    for (int c = 0; result && c < model.classes.size(); c++) {
        if (PyList_Append(result.get(), model.classes.name(c)) < 0) return nullptr;
    }
    return result.release();
}

PyObject *dump(PyObject *object, PyObject *) {
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        model.bayes.grow(model.n_classes(), static_cast<size_t>(model.features.size()));
        DumpWriter writer(kKind);
        if (!writer.names(model.features) || !writer.names(model.classes)) return nullptr;
        for (size_t c = 0; c < model.n_classes(); c++) {
            writer.i64(model.bayes.counts[c]);
            for (const Gaussian &gaussian : model.bayes.gaussians[c]) {
                writer.f64(gaussian.n);
                writer.f64(gaussian.mean);
                writer.f64(gaussian.sum_of_squares);
            }
        }
        return writer.finish();
    });
}

// Replaces the state by that of a dump; on an error all stays as it was.
PyObject *restore(PyObject *object, PyObject *bytes) {
    return Self::replace_model(object, [&]() -> std::unique_ptr<Model> {
        auto found = std::make_unique<Model>();
        DumpReader reader(bytes, kKind);
        reader.names(found->features);
        reader.names(found->classes);
        for (size_t c = 0; c < found->n_classes() && !reader.failed(); c++) {
            found->bayes.grow(c + 1, static_cast<size_t>(found->features.size()));
            found->bayes.counts[c] = reader.i64();
            for (Gaussian &gaussian : found->bayes.gaussians[c]) {
                gaussian.n = reader.f64();
                gaussian.mean = reader.f64();
                gaussian.sum_of_squares = reader.f64();
                gaussian.refresh();
            }
        }
        if (!reader.finished()) return nullptr;
        return found;
    });
}

PyObject *memory(PyObject *object, PyObject *) {
    return Self::with_model(object, [](Model &model) -> PyObject * {
        return PyLong_FromSize_t(sizeof(Model) + model.bayes.bytes());
    });
}

PyMethodDef methods[] = {
    {"learn_one", fast_method(learn_one), kFastKeywords,
     "learn_one($self, x, y)\n--\n\nUpdate the model with features and a label."},
    {"predict_proba_one", fast_method(predict_proba_one), kFastKeywords,
     "predict_proba_one($self, x)\n--\n\nPredict the probability of each label."},
    {"predict_one", fast_method(predict_one), kFastKeywords,
     "predict_one($self, x)\n--\n\nPredict the likeliest label."},
    {"learn_dicts", fast_method(learn_dicts), kFastKeywords,
     "learn_dicts($self, xs, ys, ws=None)\n--\n\n"
     "Learn a sequence of dicts, exactly as one after the other; all of them or, refused, none."},
    {"probabilities", fast_method(probabilities), kFastKeywords,
     "probabilities($self, xs, label=True)\n--\n\n"
     "Predict the probability of a label for each of a sequence of dicts."},
    {"_predict_array", fast_method(predict_array), kFastKeywords, nullptr},
    {"dump", dump, METH_NOARGS,
     "dump($self)\n--\n\nWrite the state as bytes, equal for equal models."},
    {"_restore", restore, METH_O, nullptr},
    {"_memory", memory, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"classes", classes, nullptr, "The labels, in the order in which they came.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

}  // namespace

int add_naive_bayes(PyObject *module) {
    return add_type<Model>(module, "models.compiled._native.NaiveBayesKernel", methods, properties);
}

}  // namespace driftline
