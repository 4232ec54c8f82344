// RegressionTreeKernel and RegressionForestKernel: the Python types over regression trees.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "archive.hpp"
#include "arguments.hpp"
#include "dump.hpp"
#include "events.hpp"
#include "regression_forest.hpp"
#include "tree_types.hpp"

namespace driftline {

namespace {

// What the two differ in: their own rules, their learner, and what they say of it.
struct TreeKind {
    static constexpr char kDump[] = "HoeffdingTreeRegressor";
    static constexpr bool kTakesWeight = true;
    struct Rules {
        template <class Archive> void archive(Archive &) {}
    };
    RegressionTree learner;

    TreeKind(RegressionContext &context, const Rules &) : learner(context) {}
    void learn(const Row &row, double target, double weight) {
        learner.learn(row, target, weight);
    }
    static size_t n_trees() { return 1; }
    const RegressionTree &tree(size_t) const { return learner; }
    static std::vector<int64_t> statistics() { return {}; }
};

struct ForestKind {
    static constexpr char kDump[] = "ARFRegressor";
    static constexpr bool kTakesWeight = false;
    using Rules = RegressionForestRules;
    RegressionForest learner;

    ForestKind(RegressionContext &context, const Rules &rules) : learner(context, rules) {}
    void learn(const Row &row, double target, double) { learner.learn(row, target); }
    size_t n_trees() const { return learner.size(); }
    const RegressionTree &tree(size_t i) const { return learner.tree(i); }
    std::vector<int64_t> statistics() const {
        std::vector<int64_t> found;
        for (size_t i = 0; i < learner.size(); i++) {
            found.push_back(learner.n_warnings(i));
            found.push_back(learner.n_drifts(i));
        }
        return found;
    }
};

// The row that the trees last saw: predicting for it and then learning it shares the work. The order
// of features is part of it, since it is that of sums.
class LastRow {
   public:
    void forget() { size_ = kNone; }
    // Whether it is this one; it is, from now on.
    bool is(const Row &row, size_t n_features) {
        const bool is_same = size_ == row.size && values_.size() == n_features &&
                             is_equal(values_, row.values, n_features) &&
                             is_equal(numbers_, row.numbers, n_features) &&
                             std::equal(order_.begin(), order_.end(), row.features);
        if (is_same) return true;
        size_ = row.size;
        values_.assign(row.values, row.values + n_features);
        numbers_.assign(row.numbers, row.numbers + n_features);
        order_.assign(row.features, row.features + row.size);
        return false;
    }

   private:
    static constexpr int32_t kNone = -1;

    // Bit by bit: what is missing is NaN.
    static bool is_equal(const std::vector<double> &held, const double *other, size_t n) {
        return std::memcmp(held.data(), other, n * sizeof(double)) == 0;
    }

    int32_t size_ = kNone;
    std::vector<double> values_;
    std::vector<double> numbers_;
    std::vector<int32_t> order_;
};

template <class Kind> struct Model {
    RegressionContext context;
    typename Kind::Rules rules;
    Kind kind{context, rules};
    Events events{context.schema};
    LastRow last;
    // Kept between calls for their memory.
    std::vector<double> targets;
    std::vector<double> weights;

    template <class Archive> void archive(Archive &a) {
        a.schema = &context.schema;
        a(context.notes, context.rules, rules, events.nominals, context.random, context.schema,
          kind.learner);
    }

    // After it was loaded; false with an exception set when that fails.
    bool begin() {
        if (context.rules.has_models()) {
            // A linear model multiplies categories, too.
            events.restrict_to_numbers();
            events.keep_numbers();
        }
        return events.restore();
    }

    Row next_row(size_t i) {
        kind.learner.forget_row();
        return events.row(i);
    }

    // One row by itself, which may be the last one again.
    Row lone_row() {
        const Row row = events.row(0);
        if (!last.is(row, context.schema.features.size())) kind.learner.forget_row();
        return row;
    }
};

template <class Kind> class Type {
    using Self = Holder<Model<Kind>>;

    // Runs a call that alone uses the model.
    template <class Call> static PyObject *with_model(PyObject *object, Call &&call) {
        Self *self = Self::of(object);
        const InUse in_use(self->in_use);
        if (!in_use) return nullptr;
        return guarded([&]() -> PyObject * { return call(*self->model); });
    }

    static PyObject *list_of(const std::vector<double> &numbers) {
        Ref found(PyList_New(static_cast<Py_ssize_t>(numbers.size())));
        for (size_t i = 0; found && i < numbers.size(); i++) {
            PyObject *number = PyFloat_FromDouble(numbers[i]);
            if (number == nullptr) return nullptr;
            PyList_SET_ITEM(found.get(), static_cast<Py_ssize_t>(i), number);
        }
        return found.release();
    }

    static PyObject *predict_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                 PyObject *keywords) {
        PyObject *x[1] = {nullptr};
        if (!parse_arguments("predict_one", {"x"}, 1, arguments, n, keywords, x)) return nullptr;
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            if (!model.events.read_one(x[0]) || !model.events.recognise()) return nullptr;
            return PyFloat_FromDouble(model.kind.learner.predict(model.lone_row()));
        });
    }

    static PyObject *learn_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                               PyObject *keywords) {
        PyObject *x = nullptr, *y = nullptr;
        double weight = 1.0;
        if constexpr (Kind::kTakesWeight) {
            PyObject *values[3] = {nullptr, nullptr, nullptr};
            if (!parse_arguments("learn_one", {"x", "y", "w"}, 2, arguments, n, keywords,
                                 values)) {
                return nullptr;
            }
            if (values[2] != nullptr && (!parse_finite("the weight", values[2], weight) ||
                                         !check_tree_weight(weight))) {
                return nullptr;
            }
            x = values[0];
            y = values[1];
        } else {
            PyObject *values[2] = {nullptr, nullptr};
            if (!parse_arguments("learn_one", {"x", "y"}, 2, arguments, n, keywords, values)) {
                return nullptr;
            }
            x = values[0];
            y = values[1];
        }
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            double target;
            if (!model.events.read_one(x) || !read_target(y, target) || !model.events.learn()) {
                return nullptr;
            }
            model.kind.learn(model.lone_row(), target, weight);
            Py_RETURN_NONE;
        });
    }

    static bool read_all_weights(Model<Kind> &model, PyObject *weights) {
        if (!Kind::kTakesWeight && weights != nullptr && weights != Py_None) {
            PyErr_SetString(PyExc_TypeError, "a forest takes no weights: it draws them");
            return false;
        }
        return read_tree_weights(weights, model.events.size(), model.weights);
    }

    // Row by row what is wanted, without the GIL; predictions to `out` where there is one.
    static void run(Model<Kind> &model, bool learns, double *out) {
        const WithoutGil without_gil;
        model.last.forget();
        for (size_t i = 0; i < model.events.size(); i++) {
            const Row row = model.next_row(i);
            if (out != nullptr) out[i] = model.kind.learner.predict(row);
            if (learns) model.kind.learn(row, model.targets[i], model.weights[i]);
        }
    }

    static PyObject *learn_dicts(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                 PyObject *keywords) {
        return run_dicts("learn_dicts", object, arguments, n, keywords, false);
    }

    static PyObject *test_then_train_dicts(PyObject *object, PyObject *const *arguments,
                                           Py_ssize_t n, PyObject *keywords) {
        return run_dicts("test_then_train_dicts", object, arguments, n, keywords, true);
    }

    static PyObject *run_dicts(const char *name, PyObject *object, PyObject *const *arguments,
                               Py_ssize_t n, PyObject *keywords, bool predicts) {
        PyObject *values[3] = {nullptr, nullptr, nullptr};
        if (!parse_arguments(name, {"xs", "ys", "ws"}, 2, arguments, n, keywords, values)) {
            return nullptr;
        }
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            const Ref dicts(PySequence_Tuple(values[0]));
            if (!dicts || !model.events.read_all(dicts.get()) ||
                !read_targets(values[1], model.events.size(), model.targets) ||
                !read_all_weights(model, values[2]) || !model.events.learn()) {
                return nullptr;
            }
            std::vector<double> said(predicts ? model.events.size() : 0);
            run(model, true, predicts ? said.data() : nullptr);
            if (!predicts) Py_RETURN_NONE;
            return list_of(said);
        });
    }

    static PyObject *predict_dicts(PyObject *object, PyObject *xs) {
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            const Ref dicts(PySequence_Tuple(xs));
            if (!dicts || !model.events.read_all(dicts.get()) || !model.events.recognise()) {
                return nullptr;
            }
            std::vector<double> said(model.events.size());
            run(model, false, said.data());
            return list_of(said);
        });
    }

    // _run_array(X, names, y, w, out): y, w and out may be None.
    static PyObject *run_array(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                               PyObject *keywords) {
        PyObject *values[5] = {nullptr, nullptr, nullptr, nullptr, nullptr};
        if (!parse_arguments("_run_array", {"X", "names", "y", "w", "out"}, 5, arguments, n,
                             keywords, values)) {
            return nullptr;
        }
        const bool learns = values[2] != Py_None, predicts = values[4] != Py_None;
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            Events &events = model.events;
            Array out;
            if (predicts && !out.open("out", values[4], "d", 1, true)) return nullptr;
            bool is_good =
                events.open_array(values[0], values[1]) &&
                (!learns || read_targets(values[2], events.size(), model.targets)) &&
                read_all_weights(model, values[3]);
            if (is_good && predicts && static_cast<size_t>(out.size(0)) != events.size()) {
                PyErr_SetString(PyExc_ValueError, "out must have a place for each row");
                is_good = false;
            }
            is_good = is_good && (learns ? events.learn() : events.recognise());
            if (is_good) run(model, learns, predicts ? out.data<double>() : nullptr);
            events.release_array();
            if (!is_good) return nullptr;
            Py_RETURN_NONE;
        });
    }

    static PyObject *dump(PyObject *object, PyObject *) {
        return with_model(object, [](Model<Kind> &model) -> PyObject * {
            DumpWriter writer(Kind::kDump);
            Saver saver(writer);
            model.archive(saver);
            return writer.finish();
        });
    }

    // Replaces parameters and state by those of a dump; on an error all stays as it was.
    static PyObject *restore(PyObject *object, PyObject *bytes) {
        Self *self = Self::of(object);
        const InUse in_use(self->in_use);
        if (!in_use) return nullptr;
        return guarded([&]() -> PyObject * {
            auto found = std::make_unique<Model<Kind>>();
            DumpReader reader(bytes, Kind::kDump);
            Loader loader(reader);
            // What restores may keep half of the budget; the other half and more is for trees.
            found->events.category_bytes_max = HUGE_VAL;
            found->archive(loader);
            if (!reader.finished() || !found->begin()) return nullptr;
            found->events.category_bytes_max = found->context.rules.max_bytes / 2.0;
            delete std::exchange(self->model, found.release());
            Py_RETURN_NONE;
        });
    }

    // For each tree.
    static PyObject *counts(PyObject *object, PyObject *) {
        return with_model(object, [](Model<Kind> &model) -> PyObject * {
            Ref found(PyList_New(0));
            for (size_t i = 0; found && i < model.kind.n_trees(); i++) {
                const Ref of_tree(counts_of_tree(model.kind.tree(i)));
                if (!of_tree || PyList_Append(found.get(), of_tree.get()) < 0) return nullptr;
            }
            return found.release();
        });
    }

    static PyObject *statistics(PyObject *object, PyObject *) {
        return with_model(object, [](Model<Kind> &model) -> PyObject * {
            Ref found(PyList_New(0));
            for (const int64_t number : model.kind.statistics()) {
                const Ref item(PyLong_FromLongLong(number));
                if (!found || !item || PyList_Append(found.get(), item.get()) < 0) return nullptr;
            }
            return found.release();
        });
    }

    static PyObject *memory(PyObject *object, PyObject *) {
        return with_model(object, [](Model<Kind> &model) -> PyObject * {
            const size_t names = model.context.schema.bytes();
            return Py_BuildValue("nn", static_cast<Py_ssize_t>(names + model.kind.learner.bytes()),
                                 static_cast<Py_ssize_t>(names + model.kind.learner.measure()));
        });
    }

   public:
    static PyObject *create(const char *name) {
        static PyMethodDef methods[] = {
            {"learn_one", fast_method(learn_one), kFastKeywords,
             Kind::kTakesWeight
                 ? "learn_one($self, x, y, w=1.0)\n--\n\nUpdate the model with features and a target."
                 : "learn_one($self, x, y)\n--\n\nUpdate the model with features and a target."},
            {"predict_one", fast_method(predict_one), kFastKeywords,
             "predict_one($self, x)\n--\n\nPredict the target, 0 while nothing is known."},
            {"learn_dicts", fast_method(learn_dicts), kFastKeywords,
             "learn_dicts($self, xs, ys, ws=None)\n--\n\nLearn a sequence of dicts, exactly as one after the other; all of them or, refused, "
             "none."},
            {"test_then_train_dicts", fast_method(test_then_train_dicts), kFastKeywords,
             "test_then_train_dicts($self, xs, ys, ws=None)\n--\n\nPredict for each of a sequence of dicts, and learn it before the next is predicted."},
            {"predict_dicts", predict_dicts, METH_O,
             "predict_dicts($self, xs)\n--\n\nPredict for each of a sequence of dicts."},
            {"_run_array", fast_method(run_array), kFastKeywords, nullptr},
            {"dump", dump, METH_NOARGS,
             "dump($self)\n--\n\nWrite parameters and state as bytes, equal for equal models."},
            {"_restore", restore, METH_O, nullptr},
            {"_counts", counts, METH_NOARGS, nullptr},
            {"_statistics", statistics, METH_NOARGS, nullptr},
            {"_memory", memory, METH_NOARGS, nullptr},
            {nullptr, nullptr, 0, nullptr},
        };
        static PyType_Slot slots[] = {
            {Py_tp_new, reinterpret_cast<void *>(Self::create)},
            {Py_tp_dealloc, reinterpret_cast<void *>(Self::destroy)},
            {Py_tp_methods, methods},
            {0, nullptr},
        };
        PyType_Spec spec = {name, sizeof(Self), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
        return PyType_FromSpec(&spec);
    }
};

}  // namespace

int add_regressors(PyObject *module) {
    if (add_type(module, "RegressionTreeKernel",
                 Type<TreeKind>::create("models.compiled._native.RegressionTreeKernel")) < 0) {
        return -1;
    }
    return add_type(module, "RegressionForestKernel",
                    Type<ForestKind>::create("models.compiled._native.RegressionForestKernel"));
}

}  // namespace driftline
