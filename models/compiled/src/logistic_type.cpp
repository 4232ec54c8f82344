// LogisticKernel: the Python type over the fused scaler and logistic regression.
#include "arguments.hpp"
#include "columns.hpp"
#include "dump.hpp"
#include "logistic.hpp"

namespace driftline {

namespace {

constexpr char kKind[] = "ScaledLogisticRegression";

struct Model {
    Logistic logistic;
    Names names;
    // Kept between calls for their memory.
    Rows rows;
    Columns columns;
    std::vector<double> weights;
    std::vector<char> labels;
};

using Self = Holder<Model>;

PyObject *probabilities_dict(double p) {
    const Ref is_false(PyFloat_FromDouble(1.0 - p)), is_true(PyFloat_FromDouble(p));
    Ref result(PyDict_New());
    if (!is_false || !is_true || !result ||
        PyDict_SetItem(result.get(), Py_False, is_false.get()) < 0 ||
        PyDict_SetItem(result.get(), Py_True, is_true.get()) < 0) {
        return nullptr;
    }
    return result.release();
}

double probability(const Model &model, size_t row) {
    const Rows &rows = model.rows;
    return model.logistic.probability(rows.slots(row), rows.values(row), rows.width(row),
                                      rows.is_dense(row));
}

// Reads one dict and predicts; false with an exception set when it is refused.
bool predict(Model &model, PyObject *features, double &p) {
    model.rows.clear();
    if (model.rows.append(model.names, features) < 0) return false;
    p = probability(model, 0);
    return true;
}

PyObject *predict_with(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                       PyObject *keywords, const char *method, PyObject *(*result)(double)) {
    PyObject *features[1] = {nullptr};
    if (!parse_arguments(method, {"x"}, 1, arguments, n, keywords, features)) return nullptr;
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        double p;
        return predict(model, features[0], p) ? result(p) : nullptr;
    });
}

PyObject *predict_proba_one(PyObject *self, PyObject *const *arguments, Py_ssize_t n,
                            PyObject *keywords) {
    return predict_with(self, arguments, n, keywords, "predict_proba_one", probabilities_dict);
}

PyObject *predict_one(PyObject *self, PyObject *const *arguments, Py_ssize_t n,
                      PyObject *keywords) {
    // The likelier class; River's max gives False on a tie.
    return predict_with(self, arguments, n, keywords, "predict_one",
                        [](double p) { return PyBool_FromLong(p > 1.0 - p); });
}

void learn_rows(Model &model) {
    const Rows &rows = model.rows;
    model.logistic.grow(static_cast<size_t>(model.names.size()));
    for (size_t row = 0; row < rows.size(); row++) {
        model.logistic.learn(rows.slots(row), rows.values(row), rows.width(row),
                             rows.is_dense(row), model.labels[row] != 0, model.weights[row]);
    }
}

PyObject *learn_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                    PyObject *keywords) {
    PyObject *values[3] = {nullptr, nullptr, nullptr};
    if (!parse_arguments("learn_one", {"x", "y", "w"}, 2, arguments, n, keywords, values)) {
        return nullptr;
    }
    double weight = 1.0;
    if (values[2] != nullptr && !parse_finite("the weight", values[2], weight)) return nullptr;
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const int label = read_binary_label(values[1]);
        if (label < 0) return nullptr;
        model.rows.clear();
        if (model.rows.append(model.names, values[0]) < 0) return nullptr;
        if (model.rows.learn_names(model.names) < 0) return nullptr;
        model.labels.assign(1, static_cast<char>(label));
        model.weights.assign(1, weight);
        learn_rows(model);
        Py_RETURN_NONE;
    });
}

bool read_labels(PyObject *sequence, std::vector<char> &labels) {
    const Ref tuple(PySequence_Tuple(sequence));
    if (!tuple) return false;
    labels.clear();
    for (Py_ssize_t row = 0; row < PyTuple_GET_SIZE(tuple.get()); row++) {
        const int label = read_binary_label(PyTuple_GET_ITEM(tuple.get(), row));
        if (label < 0) {
            name_row(row);
            return false;
        }
        labels.push_back(static_cast<char>(label));
    }
    return true;
}

PyObject *learn_dicts(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                      PyObject *keywords) {
    PyObject *values[3] = {nullptr, nullptr, nullptr};
    if (!parse_arguments("learn_dicts", {"xs", "ys", "ws"}, 2, arguments, n, keywords, values)) {
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const Ref rows(PySequence_Tuple(values[0]));
        if (!rows || !read_labels(values[1], model.labels)) return nullptr;
        const Py_ssize_t n_rows = PyTuple_GET_SIZE(rows.get());
        if (static_cast<Py_ssize_t>(model.labels.size()) != n_rows) {
            PyErr_Format(PyExc_ValueError, "%zu labels for %zd rows", model.labels.size(), n_rows);
            return nullptr;
        }
        if (read_weights(values[2], n_rows, model.weights) < 0) return nullptr;
        model.rows.clear();
        if (model.rows.append_all(model.names, rows.get()) < 0) return nullptr;
        if (model.rows.learn_names(model.names) < 0) return nullptr;
        learn_rows(model);
        Py_RETURN_NONE;
    });
}

PyObject *probabilities(PyObject *object, PyObject *sequence) {
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const Ref rows(PySequence_Tuple(sequence));
        if (!rows) return nullptr;
        model.rows.clear();
        if (model.rows.append_all(model.names, rows.get()) < 0) return nullptr;
        Ref result(PyList_New(PyTuple_GET_SIZE(rows.get())));
        for (size_t row = 0; result && row < model.rows.size(); row++) {
            PyObject *p = PyFloat_FromDouble(probability(model, row));
            if (p == nullptr) return nullptr;
            PyList_SET_ITEM(result.get(), static_cast<Py_ssize_t>(row), p);
        }
        return result.release();
    });
}

// The means as Python floats, made when they are first asked for: every row has the same.
class Means {
   public:
    explicit Means(const Logistic &logistic) : logistic_(logistic), made_(logistic.means.size()) {}
    // Borrowed; null with an exception set.
    PyObject *get(size_t slot) {
        if (!made_[slot]) made_[slot] = Ref(PyFloat_FromDouble(logistic_.means[slot]));
        return made_[slot].get();
    }

   private:
    const Logistic &logistic_;
    std::vector<Ref> made_;
};

// Names, values, means, contributions and their margin; of a feature never learned, None and 0.
PyObject *attribution(const Model &model, size_t row, PyObject *features, Means &means) {
    const Rows &rows = model.rows;
    const Ref names(PyDict_Keys(features)), values(PyDict_Values(features));
    const auto n = static_cast<Py_ssize_t>(rows.width(row));
    Ref usual(PyList_New(n)), contributions(PyList_New(n));
    if (!names || !values || !usual || !contributions) return nullptr;
    double sum = 0.0;
    for (Py_ssize_t j = 0; j < n; j++) {
        const int slot = rows.slots(row)[j];
        const auto at = static_cast<size_t>(slot);
        PyObject *mean = slot < 0 ? Py_None : means.get(at);
        const double value = rows.values(row)[j];
        const double found = slot < 0 ? 0.0 : model.logistic.contribution(at, value);
        PyObject *contribution = PyFloat_FromDouble(found);
        if (mean == nullptr || contribution == nullptr) {
            Py_XDECREF(contribution);
            return nullptr;
        }
        PyList_SET_ITEM(usual.get(), j, Ref::borrow(mean).release());
        PyList_SET_ITEM(contributions.get(), j, contribution);
        sum += found;
    }
    return Py_BuildValue("OOOOd", names.get(), values.get(), usual.get(), contributions.get(),
                         sum + model.logistic.intercept);
}

PyObject *attributions(PyObject *object, PyObject *sequence) {
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        const Ref rows(PySequence_Tuple(sequence));
        if (!rows) return nullptr;
        model.rows.clear();
        if (model.rows.append_all(model.names, rows.get()) < 0) return nullptr;
        model.logistic.grow(static_cast<size_t>(model.names.size()));
        Means means(model.logistic);
        Ref result(PyList_New(PyTuple_GET_SIZE(rows.get())));
        for (Py_ssize_t row = 0; result && row < PyTuple_GET_SIZE(rows.get()); row++) {
            PyObject *found = attribution(model, static_cast<size_t>(row),
                                          PyTuple_GET_ITEM(rows.get(), row), means);
            if (found == nullptr) return nullptr;
            PyList_SET_ITEM(result.get(), row, found);
        }
        if (!result) return nullptr;
        return Py_BuildValue("dN", model.logistic.intercept, result.release());
    });
}

// The rows of an array: predicted, learned, or each predicted and then learned.
struct ArrayCall {
    Array x, y, w, out;
    bool learns = false, predicts = false, is_weighted = false;

    void run(Logistic &logistic, const Columns &columns) {
        const size_t n_rows = static_cast<size_t>(x.size(0)), n = static_cast<size_t>(x.size(1));
        const double *values = x.data<double>();
        for (size_t row = 0; row < n_rows; row++, values += n) {
            const int *slots = columns.slots();
            const bool dense = columns.is_dense();
            if (predicts) out.data<double>()[row] = logistic.probability(slots, values, n, dense);
            if (learns) {
                logistic.learn(slots, values, n, dense, y.data<uint8_t>()[row] != 0,
                               is_weighted ? w.data<double>()[row] : 1.0);
            }
        }
    }
};

bool open_rows(Array &array, const char *what, PyObject *object, const char *format,
               Py_ssize_t n_rows, bool writable = false) {
    if (!array.open(what, object, format, 1, writable)) return false;
    if (array.size(0) == n_rows) return true;
    PyErr_Format(PyExc_ValueError, "%s has %zd items for %zd rows", what, array.size(0), n_rows);
    return false;
}

// _run_array(X, names, y, w, out): y, w and out may be None.
PyObject *run_array(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                    PyObject *keywords) {
    PyObject *values[5] = {nullptr, nullptr, nullptr, nullptr, nullptr};
    if (!parse_arguments("_run_array", {"X", "names", "y", "w", "out"}, 5, arguments, n, keywords,
                         values)) {
        return nullptr;
    }
    return Self::with_model(object, [&](Model &model) -> PyObject * {
        ArrayCall call;
        call.learns = values[2] != Py_None;
        call.is_weighted = values[3] != Py_None;
        call.predicts = values[4] != Py_None;
        if (!call.x.open("X", values[0], "d", 2)) return nullptr;
        const Py_ssize_t n_rows = call.x.size(0), n_columns = call.x.size(1);
        if (call.learns && !open_rows(call.y, "y", values[2], "B", n_rows)) return nullptr;
        if (call.is_weighted && !open_rows(call.w, "w", values[3], "d", n_rows)) return nullptr;
        if (call.predicts && !open_rows(call.out, "out", values[4], "d", n_rows, true)) {
            return nullptr;
        }
        if (check_numbers(call.x.data<double>(), n_rows, n_columns) < 0) return nullptr;
        if (model.columns.open(model.names, values[1], n_columns) < 0) return nullptr;
        if (call.learns) {
            if (model.columns.learn_names(model.names) < 0) return nullptr;
            model.logistic.grow(static_cast<size_t>(model.names.size()));
        }
        {
            const WithoutGil without_gil;
            call.run(model.logistic, model.columns);
        }
        Py_RETURN_NONE;
    });
}

void write_options(DumpWriter &writer, const LogisticOptions &options) {
    writer.u8(options.with_std);
    writer.u8(static_cast<uint8_t>(options.optimizer));
    for (const double option : options.optimizer_options) writer.f64(option);
    for (const double option : {options.l2, options.l1, options.intercept_init,
                                options.intercept_rate, options.clip_gradient,
                                options.weight_pos, options.weight_neg}) {
        writer.f64(option);
    }
}

LogisticOptions read_options(DumpReader &reader) {
    LogisticOptions options;
    options.with_std = reader.u8() != 0;
    const uint8_t optimizer = reader.u8();
    if (optimizer > static_cast<uint8_t>(Optimizer::ftrl)) reader.fail("no such optimizer");
    options.optimizer = static_cast<Optimizer>(optimizer);
    for (double &option : options.optimizer_options) option = reader.f64();
    for (double *option : {&options.l2, &options.l1, &options.intercept_init,
                           &options.intercept_rate, &options.clip_gradient, &options.weight_pos,
                           &options.weight_neg}) {
        *option = reader.f64();
    }
    return options;
}

PyObject *dump(PyObject *object, PyObject *) {
    return Self::with_model(object, [](Model &model) -> PyObject * {
        Logistic &logistic = model.logistic;
        logistic.grow(static_cast<size_t>(model.names.size()));
        DumpWriter writer(kKind);
        write_options(writer, logistic.options);
        writer.f64(logistic.intercept);
        writer.i64(logistic.n_iterations);
        writer.f64(logistic.l1_total);
        if (!writer.names(model.names)) return nullptr;
        for (const auto *array : logistic.arrays()) writer.f64s(*array);
        return writer.finish();
    });
}

// Replaces parameters and state by those of a dump; on an error all stays as it was.
PyObject *restore(PyObject *object, PyObject *bytes) {
    return Self::replace_model(object, [&]() -> std::unique_ptr<Model> {
        auto found = std::make_unique<Model>();
        Logistic &logistic = found->logistic;
        DumpReader reader(bytes, kKind);
        logistic.options = read_options(reader);
        logistic.intercept = reader.f64();
        logistic.n_iterations = reader.i64();
        logistic.l1_total = reader.f64();
        reader.names(found->names);
        const size_t n_features = static_cast<size_t>(found->names.size());
        for (auto *array : logistic.arrays()) reader.f64s(*array, n_features);
        if (!reader.finished()) return nullptr;
        logistic.refresh();
        return found;
    });
}

PyObject *memory(PyObject *object, PyObject *) {
    return Self::with_model(object, [](Model &model) -> PyObject * {
        return PyLong_FromSize_t(sizeof(Model) + model.logistic.bytes());
    });
}

PyMethodDef methods[] = {
    {"learn_one", fast_method(learn_one), kFastKeywords,
     "learn_one($self, x, y, w=1.0)\n--\n\nUpdate the model with features and a label."},
    {"predict_proba_one", fast_method(predict_proba_one), kFastKeywords,
     "predict_proba_one($self, x)\n--\n\nPredict the probability of each label."},
    {"predict_one", fast_method(predict_one), kFastKeywords,
     "predict_one($self, x)\n--\n\nPredict the likelier label."},
    {"learn_dicts", fast_method(learn_dicts), kFastKeywords,
     "learn_dicts($self, xs, ys, ws=None)\n--\n\n"
     "Learn a sequence of dicts, exactly as one after the other; all of them or, refused, none."},
    {"probabilities", probabilities, METH_O,
     "probabilities($self, xs)\n--\n\nPredict P(True) for each of a sequence of dicts."},
    {"attributions", attributions, METH_O,
     "attributions($self, xs)\n--\n\n"
     "Give the intercept; and names, values, means, contributions and their margin of each dict."},
    {"_run_array", fast_method(run_array), kFastKeywords, nullptr},
    {"dump", dump, METH_NOARGS,
     "dump($self)\n--\n\nWrite parameters and state as bytes, equal for equal models."},
    {"_restore", restore, METH_O, nullptr},
    {"_memory", memory, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

int add_logistic(PyObject *module) {
    return add_type<Model>(module, "models.compiled._native.LogisticKernel", methods);
}

}  // namespace driftline
