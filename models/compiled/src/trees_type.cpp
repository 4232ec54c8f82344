// TreeKernel, AdaptiveTreeKernel, ForestKernel and those of bagging: the Python types over trees.
#include <algorithm>
#include <type_traits>

#include "adaptive_tree.hpp"
#include "bagging.hpp"
#include "forest.hpp"
#include "tree_types.hpp"

namespace driftline {

namespace {

using Ids = std::vector<int32_t>;

struct TreeKind : SingleTree<Tree> {
    static constexpr char kDump[] = "HoeffdingTreeClassifier";
    using Rules = NoRules;

    TreeKind(TreeContext &context, const Rules &) : SingleTree{Tree(context)} {}
};

struct AdaptiveTreeKind : SingleTree<AdaptiveTree> {
    static constexpr char kDump[] = "HoeffdingAdaptiveTreeClassifier";
    using Rules = AdaptiveRules;

    AdaptiveTreeKind(TreeContext &context, const Rules &rules)
        : SingleTree{AdaptiveTree(context, rules)} {}
    std::vector<int64_t> statistics() const {
        return {learner.n_alternate_trees(), learner.n_pruned_alternate_trees(),
                learner.n_switch_alternate_trees()};
    }
};

struct ForestKind : ManyTrees<Forest> {
    static constexpr char kDump[] = "ARFClassifier";
    using Rules = ForestRules;

    ForestKind(TreeContext &context, const Rules &rules) : ManyTrees{Forest(context, rules)} {}
};

// The two differ in their rules alone, but not even a dump of one is taken for one of the other.
template <bool is_leveraging> struct BaggingKind : ManyTrees<Bagging> {
    static constexpr char kAdwinBagging[] = "ADWINBaggingClassifier";
    static constexpr char kLeveragingBagging[] = "LeveragingBaggingClassifier";
    static constexpr const char *kDump = is_leveraging ? kLeveragingBagging : kAdwinBagging;
    using Rules = BaggingRules;

    BaggingKind(TreeContext &context, const Rules &rules) : ManyTrees{Bagging(context, rules)} {}
};

template <class Kind> struct Model : TreesModel<Kind, TreeContext> {
    using TreesModel<Kind, TreeContext>::context;
    using TreesModel<Kind, TreeContext>::rules;
    using TreesModel<Kind, TreeContext>::kind;
    using TreesModel<Kind, TreeContext>::events;
    using TreesModel<Kind, TreeContext>::attribution;
    // What was predicted last, by class, for those in `order`, which is River's order.
    std::vector<double> proba;
    Ids order;

    template <class Archive> void archive(Archive &a) {
        a.schema = &context.schema;
        a(context.notes, context.rules, context.adwin, rules, events.nominals, context.random,
          context.schema, kind.learner);
    }

    bool begin() {
        if (!has_paths()) events.restrict_to_numbers_and_known_classes();
        return events.restore();
    }

    // Not of linear models in a bag.
    bool has_paths() const {
        if constexpr (std::is_same_v<typename Kind::Rules, BaggingRules>) {
            return rules.base != BaggingRules::Base::kLogistic;
        }
        return true;
    }

    bool read_truth(PyObject *label) { return events.read_label(label); }
    bool read_truths(PyObject *labels) { return events.read_labels(labels, events.size()); }
    int32_t truth(size_t i) const { return events.label(i); }

    void predict(const Row &row) {
        proba.resize(context.schema.classes.size());
        if constexpr (Kind::kIsSingle) {
            kind.learner.predict(row, proba);
            const Ids &classes = kind.learner.classes();
            if (order != classes) order = classes;
        } else {
            kind.learner.predict(row, proba, order);
        }
    }
    // Of P(True).
    auto predictor() {
        return [this, truth = events.find_class(Py_True)](const Row &row) {
            predict(row);
            return probability_of(truth);
        };
    }
    // P of each class, in sorted order.
    size_t width() const { return context.schema.classes.size(); }
    void write(const Row &row, double *out) {
        const Ids &rank = context.schema.class_rank;
        predict(row);
        std::fill(out, out + rank.size(), 0.0);
        for (const int32_t cls : order) {
            const auto at = static_cast<size_t>(cls);
            out[rank[at]] = proba[at];
        }
    }

    // P(True).
    double explain(const Row &row) {
        const int32_t truth = events.find_class(Py_True);
        predict(row);
        if constexpr (Kind::kIsSingle) {
            kind.learner.attribute(row, truth, 1.0, attribution);
        } else {
            kind.learner.attribute(row, truth, attribution);
        }
        return probability_of(truth);
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

template <class Kind> class Type : TreesType<Model<Kind>> {
    using Base = TreesType<Model<Kind>>;
    using Self = Holder<Model<Kind>>;

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
        model.predict(model.lone_row());
        return true;
    }

    static PyObject *predict_proba_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                       PyObject *keywords) {
        PyObject *x[1] = {nullptr};
        if (!parse_arguments("predict_proba_one", {"x"}, 1, arguments, n, keywords, x)) {
            return nullptr;
        }
        return Self::with_model(object, [&](Model<Kind> &model) -> PyObject * {
            return predict_dict(model, x[0]) ? proba_dict(model) : nullptr;
        });
    }

    static PyObject *predict_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                 PyObject *keywords) {
        PyObject *x[1] = {nullptr};
        if (!parse_arguments("predict_one", {"x"}, 1, arguments, n, keywords, x)) return nullptr;
        return Self::with_model(object, [&](Model<Kind> &model) -> PyObject * {
            if (!predict_dict(model, x[0])) return nullptr;
            const int32_t best = model.best();
            PyObject *found = best < 0 ? Py_None : model.events.class_object(best);
            return Ref::borrow(found).release();
        });
    }

    // Predicts for dicts, and makes an item of each prediction.
    template <class Item> static PyObject *predict_dicts(PyObject *object, PyObject *xs, Item &&item) {
        return Base::predict_all(object, xs, [&](Model<Kind> &model) -> PyObject * {
            Ref found(PyList_New(static_cast<Py_ssize_t>(model.events.size())));
            for (size_t i = 0; found && i < model.events.size(); i++) {
                model.predict(model.next_row(i));
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

    static PyObject *classes(PyObject *object, PyObject *) {
        return Self::with_model(object, [](Model<Kind> &model) -> PyObject * {
            const Ids &rank = model.context.schema.class_rank;
            Ref found(PyTuple_New(static_cast<Py_ssize_t>(rank.size())));
            for (size_t cls = 0; found && cls < rank.size(); cls++) {
                PyObject *label = model.events.class_object(static_cast<int32_t>(cls));
                PyTuple_SET_ITEM(found.get(), rank[cls], Ref::borrow(label).release());
            }
            return found.release();
        });
    }

   public:
    static int add(PyObject *module, const char *name) {
        const PyMethodDef methods[] = {
            {"learn_one", fast_method(Base::learn_one), kFastKeywords,
             Kind::kIsSingle
                 ? "learn_one($self, x, y, w=1.0)\n--\n\nUpdate the model with features and a label."
                 : "learn_one($self, x, y)\n--\n\nUpdate the model with features and a label."},
            {"predict_proba_one", fast_method(predict_proba_one), kFastKeywords,
             "predict_proba_one($self, x)\n--\n\nPredict the probability of each class."},
            {"predict_one", fast_method(predict_one), kFastKeywords,
             "predict_one($self, x)\n--\n\nPredict the likeliest class, None if none is known."},
            {"test_then_train_dicts", fast_method(Base::test_then_train_dicts), kFastKeywords,
             "test_then_train_dicts($self, xs, ys, ws=None)\n--\n\nPredict P(True) for each of a sequence of dicts, and learn it before the next is "
             "predicted."},
            {"predict_proba_dicts", predict_proba_dicts, METH_O,
             "predict_proba_dicts($self, xs)\n--\n\nPredict for each of a sequence of dicts."},
            {"probabilities", probabilities, METH_O,
             "probabilities($self, xs)\n--\n\nPredict P(True) for each of a sequence of dicts."},
            {"path_attributions", Base::path_attributions, METH_O,
             "path_attributions($self, xs)\n--\n\nSay of each of a sequence of dicts why P(True) is what it is: base, names, values, "
             "contributions, P(True). None of what is not made of trees."},
            {"_classes", classes, METH_NOARGS, nullptr},
        };
        return Base::add(module, name, methods);
    }
};

}  // namespace

int add_trees(PyObject *module) {
    const bool failed =
        Type<TreeKind>::add(module, "models.compiled._native.TreeKernel") < 0 ||
        Type<AdaptiveTreeKind>::add(module, "models.compiled._native.AdaptiveTreeKernel") < 0 ||
        Type<BaggingKind<false>>::add(module, "models.compiled._native.AdwinBaggingKernel") < 0 ||
        Type<BaggingKind<true>>::add(module, "models.compiled._native.LeveragingBaggingKernel") < 0;
    return failed ? -1 : Type<ForestKind>::add(module, "models.compiled._native.ForestKernel");
}

}  // namespace driftline
