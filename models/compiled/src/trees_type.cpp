// TreeKernel, AdaptiveTreeKernel and ForestKernel: the Python types over trees.
#include <cstring>
#include <memory>
#include <type_traits>

#include "adaptive_tree.hpp"
#include "archive.hpp"
#include "arguments.hpp"
#include "bagging.hpp"
#include "dump.hpp"
#include "events.hpp"
#include "forest.hpp"
#include "tree_types.hpp"

namespace driftline {

namespace {

using Ids = std::vector<int32_t>;

// What the three differ in: their own rules, their learner, and what they say of it.
struct TreeKind {
    static constexpr char kDump[] = "HoeffdingTreeClassifier";
    static constexpr bool kTakesWeight = true;
    struct Rules {
        template <class Archive> void archive(Archive &) {}
    };
    Tree learner;

    TreeKind(TreeContext &context, const Rules &) : learner(context) {}
    void predict(const Row &row, std::vector<double> &proba, Ids &order) {
        learner.predict(row, proba);
        order = learner.classes();
    }
    void attribute(const Row &row, int32_t cls, Attribution &found) {
        learner.attribute(row, cls, 1.0, found);
    }
    static bool is_of_trees() { return true; }
    void learn(const Row &row, int32_t cls, double weight) { learner.learn(row, cls, weight); }
    size_t n_trees() const { return 1; }
    const Tree *tree(size_t) const { return &learner; }
    std::vector<int64_t> statistics() const { return {}; }
};

struct AdaptiveTreeKind {
    static constexpr char kDump[] = "HoeffdingAdaptiveTreeClassifier";
    static constexpr bool kTakesWeight = true;
    using Rules = AdaptiveRules;
    AdaptiveTree learner;

    AdaptiveTreeKind(TreeContext &context, const Rules &rules) : learner(context, rules) {}
    void predict(const Row &row, std::vector<double> &proba, Ids &order) {
        learner.predict(row, proba);
        order = learner.classes();
    }
    void attribute(const Row &row, int32_t cls, Attribution &found) {
        learner.attribute(row, cls, 1.0, found);
    }
    static bool is_of_trees() { return true; }
    void learn(const Row &row, int32_t cls, double weight) { learner.learn(row, cls, weight); }
    size_t n_trees() const { return 1; }
    const Tree *tree(size_t) const { return &learner; }
    std::vector<int64_t> statistics() const {
        return {learner.n_alternate_trees(), learner.n_pruned_alternate_trees(),
                learner.n_switch_alternate_trees()};
    }
};

struct ForestKind {
    static constexpr char kDump[] = "ARFClassifier";
    static constexpr bool kTakesWeight = false;
    using Rules = ForestRules;
    Forest learner;

    ForestKind(TreeContext &context, const Rules &rules) : learner(context, rules) {}
    void predict(const Row &row, std::vector<double> &proba, Ids &order) {
        learner.predict(row, proba, order);
    }
    void attribute(const Row &row, int32_t cls, Attribution &found) {
        learner.attribute(row, cls, found);
    }
    static bool is_of_trees() { return true; }
    void learn(const Row &row, int32_t cls, double) { learner.learn(row, cls); }
    size_t n_trees() const { return learner.size(); }
    const Tree *tree(size_t i) const { return &learner.tree(i); }
    std::vector<int64_t> statistics() const {
        std::vector<int64_t> found;
        for (size_t i = 0; i < learner.size(); i++) {
            found.push_back(learner.n_warnings(static_cast<int32_t>(i)));
            found.push_back(learner.n_drifts(static_cast<int32_t>(i)));
        }
        return found;
    }
};

// The two differ in their rules alone, but not even a dump of one is taken for one of the other.
template <bool is_leveraging> struct BaggingKind {
    static constexpr char kAdwinBagging[] = "ADWINBaggingClassifier";
    static constexpr char kLeveragingBagging[] = "LeveragingBaggingClassifier";
    static constexpr const char *kDump = is_leveraging ? kLeveragingBagging : kAdwinBagging;
    static constexpr bool kTakesWeight = false;
    using Rules = BaggingRules;
    Bagging learner;

    BaggingKind(TreeContext &context, const Rules &rules) : learner(context, rules) {}
    void predict(const Row &row, std::vector<double> &proba, Ids &order) {
        learner.predict(row, proba, order);
    }
    void attribute(const Row &row, int32_t cls, Attribution &found) {
        learner.attribute(row, cls, found);
    }
    bool is_of_trees() const { return learner.is_of_trees(); }
    void learn(const Row &row, int32_t cls, double) { learner.learn(row, cls); }
    size_t n_trees() const { return learner.size(); }
    const Tree *tree(size_t i) const { return learner.tree(i); }
    std::vector<int64_t> statistics() const { return {learner.n_changes()}; }
};

template <class Kind> struct Model {
    TreeContext context;
    typename Kind::Rules rules;
    Kind kind{context, rules};
    Events events{context.schema};
    // Kept between calls for their memory.
    std::vector<double> proba;
    Ids order;
    std::vector<double> weights;
    Attribution attribution;
    // The row that the trees last saw: predicting for it and then learning it shares the work.
    std::vector<double> last;

    template <class Archive> void archive(Archive &a) {
        a.schema = &context.schema;
        a(context.notes, context.rules, context.adwin, rules, events.nominals, context.random,
          context.schema, kind.learner);
    }

    // After it was loaded; false with an exception set when that fails.
    bool begin() {
        if constexpr (std::is_same_v<typename Kind::Rules, BaggingRules>) {
            if (rules.base == BaggingRules::Base::kLogistic) {
                events.restrict_to_numbers_and_known_classes();
            }
        }
        return events.restore();
    }

    void predict(const Row &row) {
        proba.resize(context.schema.classes.size());
        kind.predict(row, proba, order);
    }

    void predict_next(const Row &row) {
        kind.learner.forget_row();
        predict(row);
    }

    // Predict or learn one row by itself.
    void meet_row() {
        const std::vector<double> &dense = events.dense();
        if (dense.size() != last.size() ||
            std::memcmp(dense.data(), last.data(), dense.size() * sizeof(double)) != 0) {
            kind.learner.forget_row();
            last = dense;
        }
    }

    // Of what was predicted last; 0 for a class that was not.
    double probability_of(int32_t cls) const {
        for (const int32_t known : order) {
            if (known == cls) return proba[static_cast<size_t>(cls)];
        }
        return 0.0;
    }

    // The class that is predicted: River's max, so the first of the greatest.
    int32_t best() const {
        int32_t found = -1;
        for (const int32_t cls : order) {
            if (found < 0 || proba[static_cast<size_t>(cls)] > proba[static_cast<size_t>(found)]) {
                found = cls;
            }
        }
        return found;
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

    static PyObject *proba_dict(const Model<Kind> &model) {
        Ref found(PyDict_New());
        for (const int32_t cls : model.order) {
            if (!found) return nullptr;
            const Ref p(PyFloat_FromDouble(model.proba[static_cast<size_t>(cls)]));
            if (!p || PyDict_SetItem(found.get(), model.events.class_object(cls), p.get()) < 0) {
                return nullptr;
            }
        }
        return found.release();
    }

    static bool predict_dict(Model<Kind> &model, PyObject *features) {
        if (!model.events.read_one(features) || !model.events.recognise()) return false;
        const Row row = model.events.row(0);
        model.meet_row();
        model.predict(row);
        return true;
    }

    static PyObject *predict_proba_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                       PyObject *keywords) {
        PyObject *x[1] = {nullptr};
        if (!parse_arguments("predict_proba_one", {"x"}, 1, arguments, n, keywords, x)) {
            return nullptr;
        }
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            return predict_dict(model, x[0]) ? proba_dict(model) : nullptr;
        });
    }

    static PyObject *predict_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                 PyObject *keywords) {
        PyObject *x[1] = {nullptr};
        if (!parse_arguments("predict_one", {"x"}, 1, arguments, n, keywords, x)) return nullptr;
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            if (!predict_dict(model, x[0])) return nullptr;
            const int32_t best = model.best();
            PyObject *found = best < 0 ? Py_None : model.events.class_object(best);
            return Ref::borrow(found).release();
        });
    }

    static PyObject *learn_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                               PyObject *keywords) {
        PyObject *values[3] = {nullptr, nullptr, nullptr};
        double weight = 1.0;
        if constexpr (Kind::kTakesWeight) {
            if (!parse_arguments("learn_one", {"x", "y", "w"}, 2, arguments, n, keywords,
                                 values)) {
                return nullptr;
            }
            if (values[2] != nullptr && (!parse_finite("the weight", values[2], weight) ||
                                         !check_tree_weight(weight))) {
                return nullptr;
            }
        } else {
            PyObject *two[2] = {nullptr, nullptr};
            if (!parse_arguments("learn_one", {"x", "y"}, 2, arguments, n, keywords, two)) {
                return nullptr;
            }
            values[0] = two[0];
            values[1] = two[1];
        }
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            if (!model.events.read_one(values[0]) || !model.events.read_label(values[1]) ||
                !model.events.learn()) {
                return nullptr;
            }
            const Row row = model.events.row(0);
            model.meet_row();
            model.kind.learn(row, model.events.label(0), weight);
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

    static PyObject *learn_dicts(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                 PyObject *keywords) {
        return run_dicts("learn_dicts", object, arguments, n, keywords, false);
    }

    static PyObject *test_then_train_dicts(PyObject *object, PyObject *const *arguments,
                                           Py_ssize_t n, PyObject *keywords) {
        return run_dicts("test_then_train_dicts", object, arguments, n, keywords, true);
    }

    // Learns dicts, each after it was predicted for if that is wanted: P(True) of each, or None.
    static PyObject *run_dicts(const char *name, PyObject *object, PyObject *const *arguments,
                               Py_ssize_t n, PyObject *keywords, bool predicts) {
        PyObject *values[3] = {nullptr, nullptr, nullptr};
        if (!parse_arguments(name, {"xs", "ys", "ws"}, 2, arguments, n, keywords, values)) {
            return nullptr;
        }
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            const Ref dicts(PySequence_Tuple(values[0]));
            if (!dicts || !model.events.read_all(dicts.get()) ||
                !model.events.read_labels(values[1], model.events.size()) ||
                !read_all_weights(model, values[2]) || !model.events.learn()) {
                return nullptr;
            }
            const int32_t truth = model.events.find_class(Py_True);
            std::vector<double> said(predicts ? model.events.size() : 0);
            {
                const WithoutGil without_gil;
                for (size_t i = 0; i < model.events.size(); i++) {
                    const Row row = model.events.row(i);
                    model.kind.learner.forget_row();
                    if (predicts) {
                        model.predict(row);
                        said[i] = model.probability_of(truth);
                    }
                    model.kind.learn(row, model.events.label(i), model.weights[i]);
                }
            }
            model.last.clear();
            if (!predicts) Py_RETURN_NONE;
            Ref found(PyList_New(static_cast<Py_ssize_t>(said.size())));
            for (size_t i = 0; found && i < said.size(); i++) {
                PyObject *p = PyFloat_FromDouble(said[i]);
                if (p == nullptr) return nullptr;
                PyList_SET_ITEM(found.get(), static_cast<Py_ssize_t>(i), p);
            }
            return found.release();
        });
    }

    // Predicts for dicts, and makes an item of each prediction.
    template <class Item> static PyObject *predict_dicts(PyObject *object, PyObject *xs, Item &&item) {
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            const Ref dicts(PySequence_Tuple(xs));
            if (!dicts || !model.events.read_all(dicts.get()) || !model.events.recognise()) {
                return nullptr;
            }
            model.last.clear();
            Ref found(PyList_New(static_cast<Py_ssize_t>(model.events.size())));
            for (size_t i = 0; found && i < model.events.size(); i++) {
                model.predict_next(model.events.row(i));
                PyObject *made = item(model);
                if (made == nullptr) return nullptr;
                PyList_SET_ITEM(found.get(), static_cast<Py_ssize_t>(i), made);
            }
            return found.release();
        });
    }

    static PyObject *predict_proba_dicts(PyObject *object, PyObject *xs) {
        return predict_dicts(object, xs, proba_dict);
    }

    static PyObject *probabilities(PyObject *object, PyObject *xs) {
        return predict_dicts(object, xs, [](const Model<Kind> &model) {
            return PyFloat_FromDouble(model.probability_of(model.events.find_class(Py_True)));
        });
    }

    // Base, names, values, contributions and P(True); of a feature never learned, 0.
    static PyObject *attribution(Model<Kind> &model, size_t i, PyObject *features, int32_t truth) {
        const Row row = model.events.row(i);
        model.predict_next(row);
        Attribution &found = model.attribution;
        found.clear(model.context.schema.features.size());
        model.kind.attribute(row, truth, found);
        const Ref names(PyDict_Keys(features)), values(PyDict_Values(features));
        if (!names || !values) return nullptr;
        const Py_ssize_t n = PyList_GET_SIZE(names.get());
        Ref contributions(PyList_New(n));
        for (Py_ssize_t j = 0; contributions && j < n; j++) {
            const int slot = model.events.slots(i)[j];
            const double told = slot < 0 ? 0.0 : found.contributions[static_cast<size_t>(slot)];
            PyObject *contribution = PyFloat_FromDouble(told);
            if (contribution == nullptr) return nullptr;
            PyList_SET_ITEM(contributions.get(), j, contribution);
        }
        if (!contributions) return nullptr;
        return Py_BuildValue("dOOOd", found.base, names.get(), values.get(), contributions.get(),
                             model.probability_of(truth));
    }

    static PyObject *path_attributions(PyObject *object, PyObject *xs) {
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            if (!model.kind.is_of_trees()) Py_RETURN_NONE;
            const Ref dicts(PySequence_Tuple(xs));
            if (!dicts || !model.events.read_all(dicts.get()) || !model.events.recognise()) {
                return nullptr;
            }
            model.last.clear();
            const int32_t truth = model.events.find_class(Py_True);
            Ref found(PyList_New(static_cast<Py_ssize_t>(model.events.size())));
            for (size_t i = 0; found && i < model.events.size(); i++) {
                const auto at = static_cast<Py_ssize_t>(i);
                PyObject *made = attribution(model, i, PyTuple_GET_ITEM(dicts.get(), at), truth);
                if (made == nullptr) return nullptr;
                PyList_SET_ITEM(found.get(), at, made);
            }
            return found.release();
        });
    }

    // _run_array(X, names, y, w, predicts): y and w may be None. Gives P of each class, row by row,
    // classes in sorted order.
    static PyObject *run_array(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                               PyObject *keywords) {
        PyObject *values[5] = {nullptr, nullptr, nullptr, nullptr, nullptr};
        if (!parse_arguments("_run_array", {"X", "names", "y", "w", "predicts"}, 5, arguments, n,
                             keywords, values)) {
            return nullptr;
        }
        const bool learns = values[2] != Py_None;
        const int predicts = PyObject_IsTrue(values[4]);
        if (predicts < 0) return nullptr;
        return with_model(object, [&](Model<Kind> &model) -> PyObject * {
            Events &events = model.events;
            const bool is_good =
                events.open_array(values[0], values[1]) &&
                (!learns || events.read_labels(values[2], events.size())) &&
                read_all_weights(model, values[3]) &&
                (learns ? events.learn() : events.recognise());
            Ref found;
            if (is_good) {
                const size_t n_classes = predicts ? model.context.schema.classes.size() : 0;
                const size_t size = events.size() * n_classes * sizeof(double);
                found = Ref(PyByteArray_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
            }
            if (found) {
                auto *out = reinterpret_cast<double *>(PyByteArray_AS_STRING(found.get()));
                const WithoutGil without_gil;
                run_rows(model, learns, predicts != 0, out);
            }
            events.release_array();
            model.last.clear();
            return found.release();
        });
    }

    static void run_rows(Model<Kind> &model, bool learns, bool predicts, double *out) {
        const Ids &rank = model.context.schema.class_rank;
        for (size_t i = 0; i < model.events.size(); i++) {
            const Row row = model.events.row(i);
            model.kind.learner.forget_row();
            if (predicts) {
                model.predict(row);
                std::fill(out, out + rank.size(), 0.0);
                for (const int32_t cls : model.order) {
                    const auto at = static_cast<size_t>(cls);
                    out[rank[at]] = model.proba[at];
                }
                out += rank.size();
            }
            if (learns) model.kind.learn(row, model.events.label(i), model.weights[i]);
        }
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

    static PyObject *classes(PyObject *object, PyObject *) {
        return with_model(object, [](Model<Kind> &model) -> PyObject * {
            const Ids &rank = model.context.schema.class_rank;
            Ref found(PyTuple_New(static_cast<Py_ssize_t>(rank.size())));
            for (size_t cls = 0; found && cls < rank.size(); cls++) {
                PyObject *label = model.events.class_object(static_cast<int32_t>(cls));
                PyTuple_SET_ITEM(found.get(), rank[cls], Ref::borrow(label).release());
            }
            return found.release();
        });
    }

    // For each tree: nodes, branches, leaves, height, active and inactive leaves, weight seen.
    static PyObject *counts(PyObject *object, PyObject *) {
        return with_model(object, [](Model<Kind> &model) -> PyObject * {
            Ref found(PyList_New(0));
            for (size_t i = 0; found && i < model.kind.n_trees(); i++) {
                const Tree *tree = model.kind.tree(i);
                if (tree == nullptr) continue;
                const Ref of_tree(counts_of_tree(*tree));
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
                 ? "learn_one($self, x, y, w=1.0)\n--\n\nUpdate the model with features and a label."
                 : "learn_one($self, x, y)\n--\n\nUpdate the model with features and a label."},
            {"predict_proba_one", fast_method(predict_proba_one), kFastKeywords,
             "predict_proba_one($self, x)\n--\n\nPredict the probability of each class."},
            {"predict_one", fast_method(predict_one), kFastKeywords,
             "predict_one($self, x)\n--\n\nPredict the likeliest class, None if none is known."},
            {"learn_dicts", fast_method(learn_dicts), kFastKeywords,
             "learn_dicts($self, xs, ys, ws=None)\n--\n\nLearn a sequence of dicts, exactly as one after the other; all of them or, refused, "
             "none."},
            {"test_then_train_dicts", fast_method(test_then_train_dicts), kFastKeywords,
             "test_then_train_dicts($self, xs, ys, ws=None)\n--\n\nPredict P(True) for each of a sequence of dicts, and learn it before the next is "
             "predicted."},
            {"predict_proba_dicts", predict_proba_dicts, METH_O,
             "predict_proba_dicts($self, xs)\n--\n\nPredict for each of a sequence of dicts."},
            {"probabilities", probabilities, METH_O,
             "probabilities($self, xs)\n--\n\nPredict P(True) for each of a sequence of dicts."},
            {"path_attributions", path_attributions, METH_O,
             "path_attributions($self, xs)\n--\n\nSay of each of a sequence of dicts why P(True) is what it is: base, names, values, "
             "contributions, P(True). None of what is not made of trees."},
            {"_run_array", fast_method(run_array), kFastKeywords, nullptr},
            {"dump", dump, METH_NOARGS,
             "dump($self)\n--\n\nWrite parameters and state as bytes, equal for equal models."},
            {"_restore", restore, METH_O, nullptr},
            {"_classes", classes, METH_NOARGS, nullptr},
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

int add_trees(PyObject *module) {
    if (add_type(module, "TreeKernel", Type<TreeKind>::create("models.compiled._native.TreeKernel")) <
            0 ||
        add_type(module, "AdaptiveTreeKernel",
            Type<AdaptiveTreeKind>::create("models.compiled._native.AdaptiveTreeKernel")) < 0) {
        return -1;
    }
    if (add_type(module, "AdwinBaggingKernel",
            Type<BaggingKind<false>>::create("models.compiled._native.AdwinBaggingKernel")) < 0 ||
        add_type(module, "LeveragingBaggingKernel",
            Type<BaggingKind<true>>::create("models.compiled._native.LeveragingBaggingKernel")) <
            0) {
        return -1;
    }
    return add_type(module, "ForestKernel",
               Type<ForestKind>::create("models.compiled._native.ForestKernel"));
}

}  // namespace driftline
