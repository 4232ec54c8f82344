"""What compiled trees and forests have in common, whatever they learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from river import drift

from models.compiled import tree_dumps
from models.compiled.arrays import names_of, rows_of
from models.compiled.dumped import Dumped
from models.compiled.dumps import DumpReader, DumpWriter

_ALL, _SQRT, _LOG2, _NUMBER, _SHARE = range(5)


class Trees(Dumped):
    """What all have in common: parameters, arrays, dumps and memory."""

    _KIND: ClassVar[str]
    _restore: Any
    _run_array: Any
    _memory: Any
    _counts: Any
    _statistics: Any
    dump: Any

    if TYPE_CHECKING:
        # Parameters, see `_begin`.
        def __getattr__(self, name: str) -> Any: ...

    def learn_many(
        self,
        X: ArrayLike,
        y: ArrayLike,
        w: ArrayLike | None = None,
        names: Sequence[str | int] | None = None,
    ) -> None:
        """Learn the rows of an array, exactly as one after the other; all of them, or none.

        Columns are features: `names`, or 0, 1, 2 and so on. Nominal ones hold numbers here.
        """
        self._run(X, y, w, names, False)

    def test_then_train_many(
        self,
        X: ArrayLike,
        y: ArrayLike,
        w: ArrayLike | None = None,
        names: Sequence[str | int] | None = None,
    ) -> NDArray[np.float64]:
        """Predict for each row, and learn it before the next is predicted.

        Where classes are learned, columns are the `classes` that are known after the last row.
        """
        return self._run(X, y, w, names, True)

    @property
    def memory_bytes(self) -> int:
        """What the model takes, without the Python objects of its names."""
        return int(self._memory()[0])

    def mutate(self, new_attrs: dict[str, Any]) -> None:
        """Modify parameters in place; what was learned stays."""
        dump = self.dump()
        n_before = len(self._head())
        super().mutate(new_attrs)
        writer = self._head()
        writer.raw(dump[n_before:-4])
        self._restore(writer.finish())

    def __setstate__(self, dump: bytes) -> None:
        self._restore(dump)
        self.__dict__.update(self._parameters_of(DumpReader(dump, self._KIND)))

    def _run(self, X: Any, y: Any, w: Any, names: Any, predicts: bool) -> NDArray[np.float64]:
        # What is predicted, row after row.
        rows = rows_of(X)
        # Python's own labels and numbers are read faster than those of an array.
        truths = y.tolist() if isinstance(y, np.ndarray) else y
        return np.frombuffer(self._run_array(rows, names_of(names, rows), truths, w, predicts))

    def _head(self) -> DumpWriter:
        writer = DumpWriter(self._KIND)
        self._write_parameters(writer)
        return writer

    def _begin(self, given: dict[str, Any], **defaults: Callable[[], Any]) -> None:
        # The arguments of a constructor are kept under their names, where River's `clone` looks for
        # them; as in River, those that are None may be what a default makes.
        for name, value in given.items():
            if name != "self":
                is_default = value is None and name in defaults
                setattr(self, name, defaults[name]() if is_default else value)
        writer = self._head()
        tree_dumps.write_generator(writer, self._seed())
        self._write_schema(writer)
        self._write_empty(writer)
        self._restore(writer.finish())

    def _seed(self) -> int | None:
        return getattr(self, "seed", None)

    def _write_schema(self, writer: DumpWriter) -> None:
        tree_dumps.write_empty_schema(writer)

    # What follows is each kind's own.

    def _write_parameters(self, writer: DumpWriter) -> None:
        raise NotImplementedError

    def _write_empty(self, writer: DumpWriter) -> None:
        raise NotImplementedError

    @classmethod
    def _parameters_of(cls, reader: DumpReader) -> dict[str, Any]:
        raise NotImplementedError


class SingleTree(Trees):
    """What is told of one tree."""

    def _begin(self, given: dict[str, Any], **defaults: Callable[[], Any]) -> None:
        super()._begin(given, max_depth=tree_dumps.deepest, **defaults)

    @property
    def _mutable_attributes(self) -> set[str]:
        return {"grace_period", "delta", "tau"}

    def _seed(self) -> int | None:
        # Most draw nothing, but equal models have equal dumps.
        return getattr(self, "seed", 0)

    @property
    def n_nodes(self) -> int | None:
        """Splits and leaves; None before the first event, as in River."""
        return self._count(0) or None

    @property
    def n_branches(self) -> int | None:
        """Splits."""
        return self._count(1) if self._count(0) else None

    @property
    def n_leaves(self) -> int | None:
        """Leaves."""
        return self._count(2) or None

    @property
    def height(self) -> int:
        """Nodes on the longest path."""
        return self._count(3)

    @property
    def n_active_leaves(self) -> int:
        """Leaves that may still be split, as River counts them."""
        return self._count(4)

    @property
    def n_inactive_leaves(self) -> int:
        """Leaves that were given up, as River counts them."""
        return self._count(5)

    @property
    def summary(self) -> dict[str, Any]:
        """What River's `summary` tells."""
        return {
            "n_nodes": self.n_nodes,
            "n_branches": self.n_branches,
            "n_leaves": self.n_leaves,
            "n_active_leaves": self.n_active_leaves,
            "n_inactive_leaves": self.n_inactive_leaves,
            "height": self.height,
            "total_observed_weight": self._counts()[0][6],
        }

    def _count(self, which: int) -> int:
        return int(self._counts()[0][which])


class Forest(Trees):
    """What is told of trees that are replaced when they drift, and their parameters."""

    def _begin(self, given: dict[str, Any], **defaults: Callable[[], Any]) -> None:
        super()._begin(
            given,
            drift_detector=lambda: drift.ADWIN(delta=0.001),
            warning_detector=lambda: drift.ADWIN(delta=0.01),
            **defaults,
        )

    @property
    def _mutable_attributes(self) -> set[str]:
        return {"max_features", "lambda_value", "grace_period", "delta", "tau"}

    def n_warnings_detected(self, tree_id: int | None = None) -> int:
        """Count warnings, of all trees or of one."""
        return self._sum_of(0, tree_id)

    def n_drifts_detected(self, tree_id: int | None = None) -> int:
        """Count drifts, of all trees or of one."""
        return self._sum_of(1, tree_id)

    @property
    def n_nodes(self) -> list[int]:
        """Splits and leaves of each tree; none before the first event."""
        return [int(counts[0]) for counts in self._counts()]

    def _sum_of(self, which: int, tree_id: int | None) -> int:
        numbers = self._statistics()[which::2]
        return sum(numbers) if tree_id is None else numbers[tree_id] if numbers else 0

    def _write_rules(self, writer: DumpWriter) -> None:
        detectors = (self.warning_detector, self.drift_detector)
        writer.pack("i", self.n_models)
        writer.pack("Bd", *_features(self.max_features))
        writer.pack("dB", self.lambda_value, self.disable_weighted_vote)
        writer.pack("BB", *(not isinstance(detector, drift.NoDrift) for detector in detectors))
        for detector in detectors:
            tree_dumps.write_detector(writer, detector)

    @staticmethod
    def _read_rules(reader: DumpReader) -> dict[str, Any]:
        (n_models,) = reader.unpack("i")
        kind, number = reader.unpack("Bd")
        lambda_value, disable_weighted_vote = reader.unpack("dB")
        has_warnings, has_drifts = reader.unpack("BB")
        warning, drifts = (tree_dumps.read_detector(reader) for _ in range(2))
        return {
            "n_models": int(n_models),
            "max_features": (None, "sqrt", "log2", int(number), number)[int(kind)],
            "lambda_value": tree_dumps.plain(lambda_value),
            "disable_weighted_vote": bool(disable_weighted_vote),
            "warning_detector": warning if has_warnings else drift.NoDrift(),
            "drift_detector": drifts if has_drifts else drift.NoDrift(),
        }

    def _write_empty(self, writer: DumpWriter) -> None:
        writer.pack("B", False)


def _features(wanted: Any) -> tuple[int, float]:
    match wanted:
        case None:
            return _ALL, 0.0
        case "sqrt":
            return _SQRT, 0.0
        case "log2":
            return _LOG2, 0.0
        case int():
            return _NUMBER, float(wanted)
        case float():
            return _SHARE, wanted
    raise ValueError(f"max_features must be a number, sqrt, log2 or None, not {wanted!r}")
