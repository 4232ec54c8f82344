// What every subject includes first: the Python API, owned references, and the subjects themselves.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstring>
#include <memory>
#include <new>
#include <utility>

namespace driftline {

// A subject adds its types to the module; -1 with an exception set when that fails.
int add_logistic(PyObject *module);
int add_trees(PyObject *module);
int add_regressors(PyObject *module);
int add_naive_bayes(PyObject *module);
int add_half_space(PyObject *module);
int add_windows(PyObject *module);
int add_movement(PyObject *module);

// An owned reference.
class Ref {
   public:
    Ref() = default;
    explicit Ref(PyObject *owned) : object_(owned) {}
    Ref(Ref &&other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    Ref &operator=(Ref &&other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    Ref(const Ref &) = delete;
    Ref &operator=(const Ref &) = delete;
    ~Ref() { Py_XDECREF(object_); }

    static Ref borrow(PyObject *object) {
        Py_XINCREF(object);
        return Ref(object);
    }
    PyObject *get() const { return object_; }
    PyObject *release() { return std::exchange(object_, nullptr); }
    explicit operator bool() const { return object_ != nullptr; }

   private:
    PyObject *object_ = nullptr;
};

// Marks a model as in use for the length of a call. Two threads on one model would interleave their
// updates, so the second is refused. The flag is read and written under the GIL, which batch calls
// give up only after setting it.
class InUse {
   public:
    explicit InUse(bool &flag) : flag_(flag), mine_(!flag) {
        if (mine_) {
            flag_ = true;
        } else {
            PyErr_SetString(PyExc_RuntimeError,
                            "this model is in use by another call: use it from one thread at a time");
        }
    }
    InUse(const InUse &) = delete;
    InUse &operator=(const InUse &) = delete;
    ~InUse() {
        if (mine_) flag_ = false;
    }
    explicit operator bool() const { return mine_; }

   private:
    bool &flag_;
    bool mine_;
};

// Gives up the GIL for the length of a block that touches no Python object.
class WithoutGil {
   public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    WithoutGil(const WithoutGil &) = delete;
    WithoutGil &operator=(const WithoutGil &) = delete;
    ~WithoutGil() { PyEval_RestoreThread(state_); }

   private:
    PyThreadState *state_;
};

// Runs a call that may throw std::bad_alloc, the only C++ exception that the kernels let pass.
template <typename Call>
PyObject *guarded(Call &&call) {
    try {
        return call();
    } catch (const std::bad_alloc &) {
        return PyErr_NoMemory();
    }
}

// A Python object that holds a C++ model: what the types of all subjects are made of.
template <typename Model>
struct Holder {
    PyObject_HEAD
    Model *model;
    bool in_use;

    static Holder *of(PyObject *self) { return reinterpret_cast<Holder *>(self); }

    static PyObject *create(PyTypeObject *type, PyObject *, PyObject *) {
        Ref self(type->tp_alloc(type, 0));
        if (!self) return nullptr;
        of(self.get())->model = new (std::nothrow) Model();
        if (of(self.get())->model == nullptr) return PyErr_NoMemory();
        return self.release();
    }

    static void destroy(PyObject *self) {
        PyTypeObject *type = Py_TYPE(self);
        delete of(self)->model;
        type->tp_free(self);
        Py_DECREF(type);
    }

    // Runs a call that alone uses the model.
    template <typename Call>
    static PyObject *with_model(PyObject *object, Call &&call) {
        return with_self(object, [&](Holder &self) -> PyObject * { return call(*self.model); });
    }

    // Puts what a call makes in the place of the model. Where it makes none, having set an
    // exception, all stays as it was.
    template <typename Call>
    static PyObject *replace_model(PyObject *object, Call &&make) {
        return with_self(object, [&](Holder &self) -> PyObject * {
            std::unique_ptr<Model> made = make();
            if (made == nullptr) return nullptr;
            delete std::exchange(self.model, made.release());
            Py_RETURN_NONE;
        });
    }

   private:
    template <typename Call>
    static PyObject *with_self(PyObject *object, Call &&call) {
        Holder *self = of(object);
        const InUse in_use(self->in_use);
        if (!in_use) return nullptr;
        return guarded([&]() -> PyObject * { return call(*self); });
    }
};

// Adds the type that holds a model, under the last part of its name; -1 with an exception set when
// that fails.
template <typename Model>
int add_type(PyObject *module, const char *name, PyMethodDef *methods,
             PyGetSetDef *properties = nullptr) {
    using Self = Holder<Model>;
    PyType_Slot slots[] = {
        {Py_tp_new, reinterpret_cast<void *>(Self::create)},
        {Py_tp_dealloc, reinterpret_cast<void *>(Self::destroy)},
        {Py_tp_methods, methods},
        {properties == nullptr ? 0 : Py_tp_getset, properties},
        {0, nullptr},
    };
    PyType_Spec spec = {name, sizeof(Self), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
    const Ref type(PyType_FromSpec(&spec));
    return type ? PyModule_AddObjectRef(module, std::strrchr(name, '.') + 1, type.get()) : -1;
}

// A METH_FASTCALL function as method tables hold it.
template <typename Function>
PyCFunction fast_method(Function *function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

constexpr int kFastKeywords = METH_FASTCALL | METH_KEYWORDS;

}  // namespace driftline
