"""Compiled estimators with River's interface and River's predictions.

Why C++17 on the bare CPython API: exactness needs control of every float operation, which each
candidate gives; a call costs 25 to 34 ns (positional, keywords), in Cython 33 to 38, in nanobind
55 to 76, where a whole prediction takes 200; and nothing but a compiler is needed to build it. The
kernels are base classes of the estimators, so a call goes straight into C++. They take none of the
`**kwargs` that River's classifiers allow for and never get: hence their `type: ignore[misc]`.

The extension is optional: where it was not built, `AVAILABLE` is false and River's own estimators
serve, with the same predictions.

In `src/`, a subject has a kernel (`logistic.cpp`: numbers only) and a Python type around it
(`logistic_type.cpp`). What they share: `features` reads and checks dicts before any state changes,
`columns` does so for arrays, labels and weights, `dump` is the format, `numbers` has Python's
powers, `module` holds models and guards them against two callers at once.

A tree is, from the ground up: `schema` (names), `categories` and `nominal`, `gaussians` (loops over
numbers, compiled for `wide` registers too), `leaf` (what is seen and predicted), `splits` (the
search), `tree_shape` (what all trees are), `tree`; with `adwin` and
`random`, `adaptive_tree`; with `forest_rules` and `forest_shape` (what all forests are), `forest`;
`events` reads for them (`texts`: categories that are met again), `archive` dumps them. `bagging`
has trees or logistic regressions for members. `tree_types` has what the Python types of all of
these share, `trees_type` the rest.

A tree for regression has the same shape: `variance` and `linear` (what a leaf says), `value_tree`
(what it has seen of a number), `regression_rules`, `regression_leaf`, `regression_tree`,
`regression_forest`, and `regressors_type`. `half_space` stands alone.

`windows` is no estimator: it leads `models.features` over batches, with `hashes` of ids; there,
too, Python's own way stays, with the same results.
"""

try:
    from models.compiled import _native

    AVAILABLE = _native.FORMAT_VERSION > 0
except ImportError:
    AVAILABLE = False

__all__ = ["AVAILABLE"]
