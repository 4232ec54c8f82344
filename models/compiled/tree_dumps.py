"""The head of a tree's dump: its parameters, and the generator that a fresh model starts with."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

from river import base, drift
from river.tree.splitter import GaussianSplitter, Splitter

from models.compiled.dumps import DumpReader, DumpWriter

CRITERIA = ("info_gain", "gini", "hellinger")
LEAF_PREDICTIONS = ("mc", "nb", "nba")
_BOOL, _INTEGER, _FLOAT, _TEXT = range(4)
_NOTES = "BqBq"
_RULES = "diBddBdiBdddBBB"
_ADWIN = "diiii"
_N_WORDS = 624


def write_parameters(writer: DumpWriter, model: Any) -> None:
    """Write the parameters that all trees share.

    Raises
    ------
    ValueError
        When one is not compiled: another splitter, criterion or leaf.
    """
    write_notes(writer, model)
    writer.pack(
        _RULES,
        model.grace_period,
        deepest() if model.max_depth is None else model.max_depth,
        choice("split_criterion", model.split_criterion, CRITERIA),
        model.delta,
        model.tau,
        choice("leaf_prediction", model.leaf_prediction, LEAF_PREDICTIONS),
        model.nb_threshold,
        _n_splits(model.splitter),
        model.binary_split,
        model.min_branch_fraction,
        model.max_share_to_split,
        model.max_size * 2**20,
        model.stop_mem_management,
        model.remove_poor_attrs,
        model.merit_preprune,
    )


def read_parameters(reader: DumpReader) -> dict[str, Any]:
    """Read what `write_parameters` wrote."""
    notes, has_depth = read_notes(reader)
    (grace, depth, criterion, delta, tau, leaf, threshold, n_splits, *rest) = reader.unpack(_RULES)
    binary, fraction, share, max_bytes, stop, remove, preprune = rest
    return {
        **notes,
        "max_depth": int(depth) if has_depth else None,
        "grace_period": plain(grace),
        "split_criterion": CRITERIA[int(criterion)],
        "delta": delta,
        "tau": tau,
        "leaf_prediction": LEAF_PREDICTIONS[int(leaf)],
        "nb_threshold": plain(threshold),
        "splitter": GaussianSplitter(n_splits=int(n_splits)),
        "binary_split": bool(binary),
        "min_branch_fraction": fraction,
        "max_share_to_split": share,
        "max_size": max_bytes / 2**20,
        "stop_mem_management": bool(stop),
        "remove_poor_attrs": bool(remove),
        "merit_preprune": bool(preprune),
    }


def write_notes(writer: DumpWriter, model: Any) -> None:
    """Write the parameters that only Python knows a use for."""
    seed = getattr(model, "seed", None)
    writer.pack(
        _NOTES,
        seed is not None,
        seed or 0,
        model.max_depth is not None,
        model.memory_estimate_period,
    )


def read_notes(reader: DumpReader) -> tuple[dict[str, Any], bool]:
    """Read what `write_notes` wrote, and whether there is a limit of depth."""
    has_seed, seed, has_depth, period = reader.unpack(_NOTES)
    notes = {"seed": int(seed) if has_seed else None, "memory_estimate_period": int(period)}
    return notes, bool(has_depth)


def write_detector(writer: DumpWriter, detector: base.DriftDetector | None) -> None:
    """Write the parameters of an ADWIN.

    Raises
    ------
    ValueError
        When it is another detector.
    """
    if detector is None or isinstance(detector, drift.NoDrift):
        detector = drift.ADWIN()
    if type(detector) is not drift.ADWIN:
        raise ValueError(f"the drift detector must be ADWIN, not {detector!r}")
    writer.pack(
        _ADWIN,
        detector.delta,
        detector.clock,
        detector.max_buckets,
        detector.min_window_length,
        detector.grace_period,
    )


def read_detector(reader: DumpReader) -> drift.ADWIN:
    """Read what `write_detector` wrote."""
    delta, clock, max_buckets, min_window_length, grace_period = reader.unpack(_ADWIN)
    return drift.ADWIN(
        delta=delta,
        clock=int(clock),
        max_buckets=int(max_buckets),
        min_window_length=int(min_window_length),
        grace_period=int(grace_period),
    )


def write_names(writer: DumpWriter, names: list[Any] | None) -> None:
    """Write names of features."""
    writer.pack("I", len(names or ()))
    for name in names or ():
        if isinstance(name, str):
            writer.pack("B", _TEXT)
            writer.text(name)
        else:
            writer.pack("Bd", _INTEGER, name)


def read_names(reader: DumpReader) -> list[Any] | None:
    """Read what `write_names` wrote; none are None."""
    (n,) = reader.unpack("I")
    names: list[Any] = []
    for _ in range(int(n)):
        (kind,) = reader.unpack("B")
        names.append(reader.text() if kind == _TEXT else int(reader.unpack("d")[0]))
    return names or None


def write_seed(writer: DumpWriter, seed: int | None) -> None:
    """Write a seed, or that there is none."""
    writer.pack("Bq", seed is not None, seed or 0)


def read_seed(reader: DumpReader) -> int | None:
    """Read what `write_seed` wrote."""
    has_seed, seed = reader.unpack("Bq")
    return int(seed) if has_seed else None


def write_generator(writer: DumpWriter, seed: int | None) -> None:
    """Write the state of a fresh `random.Random(seed)`."""
    words = random.Random(seed).getstate()[1]
    writer.pack(f"{_N_WORDS + 1}I", *words)


def read_generator(reader: DumpReader) -> None:
    """Pass what `write_generator` wrote: only kernels draw."""
    reader.unpack(f"{_N_WORDS + 1}I")


def write_empty_schema(writer: DumpWriter, truths: Sequence[bool] = ()) -> None:
    """Write that no feature is known yet, and no class but these."""
    writer.pack("II", 0, len(truths))
    for truth in truths:
        writer.pack("Bd", _BOOL, truth)


def write_empty_tree(writer: DumpWriter) -> None:
    """Write a tree that has learned nothing: see `Tree::archive`."""
    writer.pack("dIqqBBdB", 0.0, 0, 0, 0, True, False, 0.0, False)


def deepest() -> int:
    """Give the limit of depth that River's trees take where none is given."""
    return sys.getrecursionlimit() - 20


def choice(name: str, value: Any, choices: tuple[str, ...]) -> int:
    """Give the number of a parameter's choice.

    Raises
    ------
    ValueError
        When it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return choices.index(value)


def _n_splits(splitter: Splitter | None) -> int:
    if splitter is None:
        splitter = GaussianSplitter()
    if type(splitter) is not GaussianSplitter:
        raise ValueError(f"the splitter must be GaussianSplitter, not {splitter!r}")
    return int(splitter.n_splits)


def plain(number: float) -> float:
    """Give a whole number back as an int."""
    return int(number) if number.is_integer() else number
