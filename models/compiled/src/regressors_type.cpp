// RegressionTreeKernel and RegressionForestKernel: the Python types over regression trees.
#include "regression_forest.hpp"
#include "tree_types.hpp"

namespace driftline {

namespace {

struct TreeKind : SingleTree<RegressionTree> {
    static constexpr char kDump[] = "HoeffdingTreeRegressor";
    using Rules = NoRules;

    TreeKind(RegressionContext &context, const Rules &) : SingleTree{RegressionTree(context)} {}
};

struct ForestKind : ManyTrees<RegressionForest> {
    static constexpr char kDump[] = "ARFRegressor";
    using Rules = RegressionForestRules;

    ForestKind(RegressionContext &context, const Rules &rules)
        : ManyTrees{RegressionForest(context, rules)} {}
};

template <class Kind> struct Model : TreesModel<Kind, RegressionContext> {
    using TreesModel<Kind, RegressionContext>::context;
    using TreesModel<Kind, RegressionContext>::rules;
    using TreesModel<Kind, RegressionContext>::kind;
    using TreesModel<Kind, RegressionContext>::events;
    using TreesModel<Kind, RegressionContext>::attribution;
    std::vector<double> targets;

    template <class Archive> void archive(Archive &a) {
        a.schema = &context.schema;
        a(context.notes, context.rules, rules, events.nominals, context.random, context.schema,
          kind.learner);
    }

    bool begin() {
        if (context.rules.has_models()) {
            // A linear model multiplies categories, too.
            events.restrict_to_numbers();
            events.keep_numbers();
        }
        return events.restore();
    }

    bool read_truth(PyObject *target) {
        targets.resize(1);
        return read_target(target, targets[0]);
    }
    bool read_truths(PyObject *sequence) {
        return read_targets(sequence, events.size(), targets);
    }
    double truth(size_t i) const { return targets[i]; }

    double predict(const Row &row) { return kind.learner.predict(row); }
    // A linear model in a leaf is measured from zero, and the ways from means: see models/paths.py.
    bool has_paths() const { return !context.rules.has_models(); }
    double explain(const Row &row) {
        if constexpr (Kind::kIsSingle) {
            kind.learner.attribute(row, 1.0, attribution);
        } else {
            kind.learner.attribute(row, attribution);
        }
        return predict(row);
    }
    auto predictor() {
        return [this](const Row &row) { return predict(row); };
    }
    static size_t width() { return 1; }
    void write(const Row &row, double *out) { *out = predict(row); }
};

template <class Kind> class Type : TreesType<Model<Kind>> {
    using Base = TreesType<Model<Kind>>;

    static PyObject *predict_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                 PyObject *keywords) {
        PyObject *x[1] = {nullptr};
        if (!parse_arguments("predict_one", {"x"}, 1, arguments, n, keywords, x)) return nullptr;
        return Base::Self::with_model(object, [&](Model<Kind> &model) -> PyObject * {
            if (!model.events.read_one(x[0]) || !model.events.recognise()) return nullptr;
            return PyFloat_FromDouble(model.predict(model.lone_row()));
        });
    }

    static PyObject *predict_dicts(PyObject *object, PyObject *xs) {
        return Base::predict_all(object, xs, [](Model<Kind> &model) {
            std::vector<double> said;
            said.reserve(model.events.size());
            Base::run(model, false, [&](const Row &row) { said.push_back(model.predict(row)); });
            return Base::list_of(said);
        });
    }

   public:
    static int add(PyObject *module, const char *name) {
        const PyMethodDef methods[] = {
            {"learn_one", fast_method(Base::learn_one), kFastKeywords,
             Kind::kIsSingle
                 ? "learn_one($self, x, y, w=1.0)\n--\n\nUpdate the model with features and a target."
                 : "learn_one($self, x, y)\n--\n\nUpdate the model with features and a target."},
            {"predict_one", fast_method(predict_one), kFastKeywords,
             "predict_one($self, x)\n--\n\nPredict the target, 0 while nothing is known."},
            {"test_then_train_dicts", fast_method(Base::test_then_train_dicts), kFastKeywords,
             "test_then_train_dicts($self, xs, ys, ws=None)\n--\n\nPredict for each of a sequence of dicts, and learn it before the next is predicted."},
            {"predict_dicts", predict_dicts, METH_O,
             "predict_dicts($self, xs)\n--\n\nPredict for each of a sequence of dicts."},
            {"path_attributions", Base::path_attributions, METH_O,
             "path_attributions($self, xs)\n--\n\nSay of each of a sequence of dicts why the prediction is what it is: base, names, "
             "values, contributions, prediction. None where leaves do not predict their means."},
        };
        return Base::add(module, name, methods);
    }
};

}  // namespace

int add_regressors(PyObject *module) {
    if (Type<TreeKind>::add(module, "models.compiled._native.RegressionTreeKernel") < 0) return -1;
    return Type<ForestKind>::add(module, "models.compiled._native.RegressionForestKernel");
}

}  // namespace driftline
