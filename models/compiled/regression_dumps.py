"""The head of a regression tree's dump: its parameters."""

from __future__ import annotations

from typing import Any

from river import linear_model, optim
from river.tree.splitter import EBSTSplitter, Splitter, TEBSTSplitter

from models.compiled import tree_dumps
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.rates import constant_rate

LEAF_PREDICTIONS = ("mean", "model", "adaptive")
# The greatest power of ten that is a float.
_DIGITS_MAX = 22
_EXACT = -1
_RULES = "diddBd5didBdBBB"


def write_parameters(writer: DumpWriter, model: Any, min_samples: int) -> None:
    """Write the parameters that all regression trees share.

    Raises
    ------
    ValueError
        When one is not compiled: another splitter, leaf or leaf model.
    """
    tree_dumps.write_notes(writer, model)
    writer.pack(
        _RULES,
        model.grace_period,
        tree_dumps.deepest() if model.max_depth is None else model.max_depth,
        model.delta,
        model.tau,
        tree_dumps.choice("leaf_prediction", model.leaf_prediction, LEAF_PREDICTIONS),
        model.model_selector_decay,
        *_linear_rules(model.leaf_model),
        _digits(model.splitter),
        min_samples,
        model.binary_split,
        model.max_size * 2**20,
        model.stop_mem_management,
        model.remove_poor_attrs,
        model.merit_preprune,
    )


def read_parameters(reader: DumpReader) -> dict[str, Any]:
    """Read what `write_parameters` wrote."""
    notes, has_depth = tree_dumps.read_notes(reader)
    grace, depth, delta, tau, leaf, decay, *rest = reader.unpack(_RULES)
    rate, l2, intercept_init, intercept_lr, clip_gradient, digits, min_samples, *rest = rest
    binary, max_bytes, stop, remove, preprune = rest
    return {
        **notes,
        "max_depth": int(depth) if has_depth else None,
        "grace_period": tree_dumps.plain(grace),
        "delta": delta,
        "tau": tau,
        "leaf_prediction": LEAF_PREDICTIONS[int(leaf)],
        "leaf_model": linear_model.LinearRegression(
            optimizer=optim.SGD(rate),
            l2=l2,
            intercept_init=intercept_init,
            intercept_lr=intercept_lr,
            clip_gradient=clip_gradient,
        ),
        "model_selector_decay": decay,
        "splitter": _splitter(int(digits)),
        "min_samples_split": tree_dumps.plain(min_samples),
        "binary_split": bool(binary),
        "max_size": max_bytes / 2**20,
        "stop_mem_management": bool(stop),
        "remove_poor_attrs": bool(remove),
        "merit_preprune": bool(preprune),
    }


def write_empty_tree(writer: DumpWriter) -> None:
    """Write a tree that has learned nothing: see `RegressionTree::archive`."""
    writer.pack("dqqBBdB", 0.0, 0, 0, True, False, 0.0, False)


def is_default(model: Any) -> bool:
    """Say whether a leaf model is the one that River takes where none is given."""
    return _linear_rules(model) == _linear_rules(None)


def _linear_rules(model: Any) -> list[float]:
    if model is None:
        model = linear_model.LinearRegression()
    is_plain = (
        type(model) is linear_model.LinearRegression
        and type(model.optimizer) is optim.SGD
        and type(model.loss) is optim.losses.Squared
        and type(model.initializer) is optim.initializers.Zeros
        and model.l1 == 0
    )
    if not is_plain or model.optimizer.n_iterations or model.weights:
        raise ValueError(
            "the leaf model must be a fresh LinearRegression with SGD, squared loss and no l1, "
            f"not {model!r}"
        )
    return [
        constant_rate(model.optimizer.lr),
        model.l2,
        model.intercept_init,
        constant_rate(model.intercept_lr),
        model.clip_gradient,
    ]


def _splitter(digits: int) -> Splitter:
    return EBSTSplitter() if digits == _EXACT else TEBSTSplitter(digits)


def _digits(splitter: Splitter | None) -> int:
    if splitter is None:
        splitter = TEBSTSplitter()
    if type(splitter) is EBSTSplitter:
        return _EXACT
    if type(splitter) is not TEBSTSplitter:
        raise ValueError(f"the splitter must be TEBSTSplitter or EBSTSplitter, not {splitter!r}")
    if not 0 <= splitter.digits <= _DIGITS_MAX:
        raise ValueError(f"digits must be from 0 to {_DIGITS_MAX}, not {splitter.digits}")
    return splitter.digits
