// What the Python types of all models over trees do in the same way, whatever those learn.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <memory>
#include <vector>

#include "archive.hpp"
#include "arguments.hpp"
#include "columns.hpp"
#include "dump.hpp"
#include "events.hpp"
#include "tree_shape.hpp"

namespace driftline {

// Those of a model that has none beside its trees'.
struct NoRules {
    template <class Archive> void archive(Archive &) {}
};

// A model that is one tree.
template <class TreeType> struct SingleTree {
    static constexpr bool kIsSingle = true;
    TreeType learner;

    template <class Truth> void learn(const Row &row, Truth truth, double weight) {
        learner.learn(row, truth, weight);
    }
    static size_t n_trees() { return 1; }
    const TreeType *tree(size_t) const { return &learner; }
    static std::vector<int64_t> statistics() { return {}; }
};

// A model of many: it draws the weights of events itself.
template <class Trees> struct ManyTrees {
    static constexpr bool kIsSingle = false;
    Trees learner;

    template <class Truth> void learn(const Row &row, Truth truth, double) {
        learner.learn(row, truth);
    }
    size_t n_trees() const { return learner.size(); }
    // Null for what is no tree.
    auto tree(size_t i) const { return learner.tree(i); }
    std::vector<int64_t> statistics() const { return learner.statistics(); }
};

// The row that the trees last saw: predicting for it and then learning it shares the work. The order
// of features is part of it, since it is that of sums.
class LastRow {
   public:
    void forget() { is_known_ = false; }
    // Whether it is this one; it is, from now on.
    bool is(const Row &row, size_t n_features) {
        const auto size = static_cast<size_t>(row.size);
        const size_t n_numbers = row.numbers == row.values ? 0 : n_features;
        if (is_known_ && is_equal(values_, row.values, n_features) &&
            is_equal(order_, row.features, size) && is_equal(numbers_, row.numbers, n_numbers)) {
            return true;
        }
        is_known_ = true;
        values_.assign(row.values, row.values + n_features);
        order_.assign(row.features, row.features + size);
        numbers_.assign(row.numbers, row.numbers + n_numbers);
        return false;
    }

   private:
    // Bit by bit: what is missing is NaN.
    template <class Item>
    static bool is_equal(const std::vector<Item> &held, const Item *other, size_t n) {
        return held.size() == n &&
               (n == 0 || std::memcmp(held.data(), other, n * sizeof(Item)) == 0);
    }

    bool is_known_ = false;
    std::vector<double> values_;
    std::vector<int32_t> order_;
    // Where they are not the values themselves.
    std::vector<double> numbers_;
};

// What a Python type holds, but for what is learned and said. A kind adds the name of its dumps, its
// own rules, and how its learner is made of those.
template <class KindType, class ContextType> struct TreesModel {
    using Kind = KindType;

    ContextType context;
    typename Kind::Rules rules;
    Kind kind{context, rules};
    Events events{context.schema};
    LastRow last;
    // Kept between calls for their memory.
    std::vector<double> weights;
    Attribution attribution;

    Row next_row(size_t i) {
        kind.learner.forget_row();
        return events.row(i);
    }

    // One row by itself, which may be the last one again.
    Row lone_row() {
        const Row row = events.row(0);
        if (!events.repeats() && !last.is(row, context.schema.features.size())) {
            kind.learner.forget_row();
        }
        return row;
    }
};

// A model adds to TreesModel:
//
//     archive, begin       its state, and what is to be done after that was loaded
//     read_truth(s)        what is learned: labels or targets, after the events were read
//     truth(i)             one of those
//     predictor()          a function that predicts one number for a row
//     width(), write       how many numbers it predicts for a row of an array, and those
//     has_paths()          whether `explain` can tell by the ways of a row why that is what it is
//     explain(row)         fills `attribution`, which was cleared; gives the number it is about
//
// What may be refused returns false with an exception set.
template <class Model> class TreesType {
   protected:
    using Self = Holder<Model>;
    using Kind = typename Model::Kind;

    static PyObject *learn_one(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                               PyObject *keywords) {
        PyObject *x = nullptr, *y = nullptr;
        double weight = 1.0;
        if constexpr (Kind::kIsSingle) {
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
        return Self::with_model(object, [&](Model &model) -> PyObject * {
            if (!model.events.read_one(x) || !model.read_truth(y) || !model.events.learn()) {
                return nullptr;
            }
            model.kind.learn(model.lone_row(), model.truth(0), weight);
            Py_RETURN_NONE;
        });
    }

    static PyObject *test_then_train_dicts(PyObject *object, PyObject *const *arguments,
                                           Py_ssize_t n, PyObject *keywords) {
        return run_dicts("test_then_train_dicts", object, arguments, n, keywords, true);
    }

    // Reads dicts to predict for; `tell` makes what is returned.
    template <class Tell> static PyObject *predict_all(PyObject *object, PyObject *xs, Tell &&tell) {
        return Self::with_model(object, [&](Model &model) -> PyObject * {
            const Ref dicts(PySequence_Tuple(xs));
            if (!dicts || !model.events.read_all(dicts.get()) || !model.events.recognise()) {
                return nullptr;
            }
            model.last.forget();
            return tell(model);
        });
    }

    // Row by row without the GIL: predicts, and learns where that is wanted.
    template <class Predict> static void run(Model &model, bool learns, Predict &&predict) {
        const WithoutGil without_gil;
        model.last.forget();
        for (size_t i = 0; i < model.events.size(); i++) {
            const Row row = model.next_row(i);
            predict(row);
            if (learns) model.kind.learn(row, model.truth(i), model.weights[i]);
        }
    }

    // Of each of a sequence of dicts: base, names, values, contributions and what is predicted.
    static PyObject *path_attributions(PyObject *object, PyObject *xs) {
        const Ref dicts(PySequence_Tuple(xs));
        if (!dicts) return nullptr;
        return predict_all(object, dicts.get(), [&](Model &model) -> PyObject * {
            if (!model.has_paths()) Py_RETURN_NONE;
            Ref found(PyList_New(static_cast<Py_ssize_t>(model.events.size())));
            for (size_t i = 0; found && i < model.events.size(); i++) {
                const auto at = static_cast<Py_ssize_t>(i);
                PyObject *made = attribution(model, i, PyTuple_GET_ITEM(dicts.get(), at));
                if (made == nullptr) return nullptr;
                PyList_SET_ITEM(found.get(), at, made);
            }
            return found.release();
        });
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

    // Adds the type: its own methods beside those of all.
    template <size_t n>
    static int add(PyObject *module, const char *name, const PyMethodDef (&own)[n]) {
        const PyMethodDef shared[] = {
            {"learn_dicts", fast_method(learn_dicts), kFastKeywords,
             "learn_dicts($self, xs, ys, ws=None)\n--\n\nLearn a sequence of dicts, exactly as one after the other; all of them or, refused, "
             "none."},
            {"_run_array", fast_method(run_array), kFastKeywords, nullptr},
            {"dump", dump, METH_NOARGS,
             "dump($self)\n--\n\nWrite parameters and state as bytes, equal for equal models."},
            {"_restore", restore, METH_O, nullptr},
            {"_counts", counts, METH_NOARGS, nullptr},
            {"_statistics", statistics, METH_NOARGS, nullptr},
            {"_memory", memory, METH_NOARGS, nullptr},
        };
        // The last one stays empty: it ends the table.
        static PyMethodDef methods[std::size(shared) + n + 1];
        std::copy(std::begin(own), std::end(own),
                  std::copy(std::begin(shared), std::end(shared), methods));
        return add_type<Model>(module, name, methods);
    }

   private:
    // Of a feature that was never learned, 0.
    static PyObject *attribution(Model &model, size_t i, PyObject *features) {
        model.attribution.clear(model.context.schema.features.size());
        const double total = model.explain(model.next_row(i));
        const Ref names(PyDict_Keys(features)), values(PyDict_Values(features));
        if (!names || !values) return nullptr;
        const Py_ssize_t n = PyList_GET_SIZE(names.get());
        if (static_cast<size_t>(n) != model.events.width(i)) {
            PyErr_SetString(PyExc_RuntimeError, "the features changed while they were read");
            return nullptr;
        }
        Ref contributions(PyList_New(n));
        for (Py_ssize_t j = 0; contributions && j < n; j++) {
            const int slot = model.events.slots(i)[j];
            const double told =
                slot < 0 ? 0.0 : model.attribution.contributions[static_cast<size_t>(slot)];
            PyObject *contribution = PyFloat_FromDouble(told);
            if (contribution == nullptr) return nullptr;
            PyList_SET_ITEM(contributions.get(), j, contribution);
        }
        if (!contributions) return nullptr;
        return Py_BuildValue("dOOOd", model.attribution.base, names.get(), values.get(),
                             contributions.get(), total);
    }

    static bool read_all_weights(Model &model, PyObject *weights) {
        if (!Kind::kIsSingle && weights != nullptr && weights != Py_None) {
            PyErr_SetString(PyExc_TypeError, "a forest takes no weights: it draws them");
            return false;
        }
        return read_tree_weights(weights, model.events.size(), model.weights);
    }

    static PyObject *learn_dicts(PyObject *object, PyObject *const *arguments, Py_ssize_t n,
                                 PyObject *keywords) {
        return run_dicts("learn_dicts", object, arguments, n, keywords, false);
    }

    // Learns dicts, each after it was predicted for if that is wanted: those numbers, or None.
    static PyObject *run_dicts(const char *name, PyObject *object, PyObject *const *arguments,
                               Py_ssize_t n, PyObject *keywords, bool predicts) {
        PyObject *values[3] = {nullptr, nullptr, nullptr};
        if (!parse_arguments(name, {"xs", "ys", "ws"}, 2, arguments, n, keywords, values)) {
            return nullptr;
        }
        return Self::with_model(object, [&](Model &model) -> PyObject * {
            const Ref dicts(PySequence_Tuple(values[0]));
            if (!dicts || !model.events.read_all(dicts.get()) || !model.read_truths(values[1]) ||
                !read_all_weights(model, values[2]) || !model.events.learn()) {
                return nullptr;
            }
            if (!predicts) {
                run(model, true, [](const Row &) {});
                Py_RETURN_NONE;
            }
            std::vector<double> said;
            said.reserve(model.events.size());
            run(model, true, [&, predict = model.predictor()](const Row &row) {
                said.push_back(predict(row));
            });
            return list_of(said);
        });
    }

    // _run_array(X, names, y, w, predicts): y and w may be None. Gives what is predicted, row by row.
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
        return Self::with_model(object, [&](Model &model) -> PyObject * {
            Events &events = model.events;
            const bool is_good = events.open_array(values[0], values[1]) &&
                                 (!learns || model.read_truths(values[2])) &&
                                 read_all_weights(model, values[3]) &&
                                 (learns ? events.learn() : events.recognise());
            const size_t width = predicts ? model.width() : 0;
            Ref found;
            if (is_good) {
                const size_t size = events.size() * width * sizeof(double);
                found = Ref(PyByteArray_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
            }
            if (found) {
                auto *out = reinterpret_cast<double *>(PyByteArray_AS_STRING(found.get()));
                run(model, learns, [&](const Row &row) {
                    if (predicts) model.write(row, out);
                    out += width;
                });
            }
            events.release_array();
            return found.release();
        });
    }

    static PyObject *dump(PyObject *object, PyObject *) {
        return Self::with_model(object, [](Model &model) -> PyObject * {
            DumpWriter writer(Kind::kDump);
            Saver saver(writer);
            model.archive(saver);
            return writer.finish();
        });
    }

    // Replaces parameters and state by those of a dump; on an error all stays as it was.
    static PyObject *restore(PyObject *object, PyObject *bytes) {
        return Self::replace_model(object, [&]() -> std::unique_ptr<Model> {
            auto found = std::make_unique<Model>();
            DumpReader reader(bytes, Kind::kDump);
            Loader loader(reader);
            // What restores may keep half of the budget; the other half and more is for trees.
            found->events.category_bytes_max = HUGE_VAL;
            found->archive(loader);
            if (!reader.finished() || !found->begin()) return nullptr;
            found->events.category_bytes_max = found->context.rules.max_bytes / 2.0;
            return found;
        });
    }

    // For each tree: nodes, branches, leaves, height, active and inactive leaves, weight seen.
    static PyObject *counts(PyObject *object, PyObject *) {
        return Self::with_model(object, [](Model &model) -> PyObject * {
            Ref found(PyList_New(0));
            for (size_t i = 0; found && i < model.kind.n_trees(); i++) {
                const auto *tree = model.kind.tree(i);
                if (tree == nullptr) continue;
                const TreeCounts c = tree->counts();
                const Ref of_tree(Py_BuildValue(
                    "LLLLLLd", static_cast<long long>(c.n_nodes),
                    static_cast<long long>(c.n_branches), static_cast<long long>(c.n_leaves),
                    static_cast<long long>(c.height),
                    static_cast<long long>(tree->n_active_leaves()),
                    static_cast<long long>(tree->n_inactive_leaves()), tree->total_weight()));
                if (!of_tree || PyList_Append(found.get(), of_tree.get()) < 0) return nullptr;
            }
            return found.release();
        });
    }

    static PyObject *statistics(PyObject *object, PyObject *) {
        return Self::with_model(object, [](Model &model) -> PyObject * {
            Ref found(PyList_New(0));
            for (const int64_t number : model.kind.statistics()) {
                const Ref item(PyLong_FromLongLong(number));
                if (!found || !item || PyList_Append(found.get(), item.get()) < 0) return nullptr;
            }
            return found.release();
        });
    }

    static PyObject *memory(PyObject *object, PyObject *) {
        return Self::with_model(object, [](Model &model) -> PyObject * {
            const size_t names = model.context.schema.bytes();
            return Py_BuildValue("nn", static_cast<Py_ssize_t>(names + model.kind.learner.bytes()),
                                 static_cast<Py_ssize_t>(names + model.kind.learner.measure()));
        });
    }
};

}  // namespace driftline
