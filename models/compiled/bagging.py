"""River's ADWIN bagging and leveraging bagging, compiled, over trees or logistic regressions."""

from __future__ import annotations

from typing import Any, ClassVar

from river import base, drift

from models.compiled import tree_dumps
from models.compiled._native import AdwinBaggingKernel, LeveragingBaggingKernel
from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.logistic import ScaledLogisticRegression, read_options, write_options
from models.compiled.trees import ClassifierTrees, HoeffdingTreeClassifier

_TREE, _ADAPTIVE_TREE, _LOGISTIC = range(3)
_BASES = (HoeffdingTreeClassifier, HoeffdingAdaptiveTreeClassifier, ScaledLogisticRegression)
_POISSON, _ONE_MORE, _AT_MOST_ONCE = range(3)
_RATE_MAX = 700.0


class _Bagging(ClassifierTrees):
    """What both have in common; see `models.compiled.trees` for what differs from River's."""

    # What a member's ADWIN is told of: that it was right, or that it was wrong.
    _WATCHES_HITS: ClassVar[bool]

    @property
    def n_nodes(self) -> list[int]:
        """Splits and leaves of each tree."""
        return [int(counts[0]) for counts in self._counts()]

    def _rules(self) -> tuple[int, float, drift.ADWIN]:
        """How often a member learns an event, and what watches it."""
        raise NotImplementedError

    def _write_parameters(self, writer: DumpWriter) -> None:
        compiled, kind = _compiled(self.model)
        trees: Any = HoeffdingTreeClassifier() if kind == _LOGISTIC else compiled
        adaptive: Any = compiled if kind == _ADAPTIVE_TREE else HoeffdingAdaptiveTreeClassifier()
        logistic: Any = compiled if kind == _LOGISTIC else ScaledLogisticRegression()
        draw, rate, detector = self._rules()
        if self.n_models < 2:
            raise ValueError(f"n_models must be 2 at least, not {self.n_models}")
        if not 0.0 <= rate <= _RATE_MAX:
            raise ValueError(f"w must be from 0 to {_RATE_MAX:g}, not {rate}")
        tree_dumps.write_parameters(writer, trees)
        tree_dumps.write_detector(writer, adaptive.drift_detector)
        tree_dumps.write_seed(writer, self.seed)
        writer.pack("iBdB", self.n_models, draw, rate, self._WATCHES_HITS)
        tree_dumps.write_detector(writer, detector)
        writer.pack("B", kind)
        adaptive.write_rules(writer)
        write_options(writer, logistic, logistic)
        if kind == _ADAPTIVE_TREE:
            tree_dumps.write_generator(writer, compiled.seed)
        tree_dumps.write_names(writer, trees.nominal_attributes)

    def _write_schema(self, writer: DumpWriter) -> None:
        is_logistic = isinstance(_compiled(self.model)[0], ScaledLogisticRegression)
        tree_dumps.write_empty_schema(writer, (False, True) if is_logistic else ())

    def _write_empty(self, writer: DumpWriter) -> None:
        writer.pack("Bq", False, 0)

    @classmethod
    def _parameters_of(cls, reader: DumpReader) -> dict[str, Any]:
        found = tree_dumps.read_parameters(reader)
        drift_detector = tree_dumps.read_detector(reader)
        seed = tree_dumps.read_seed(reader)
        n_models, draw, rate, _ = reader.unpack("iBdB")
        detector = tree_dumps.read_detector(reader)
        (kind,) = reader.unpack("B")
        adaptive = HoeffdingAdaptiveTreeClassifier.read_rules(reader)
        logistic = read_options(reader)
        if kind == _ADAPTIVE_TREE:
            tree_dumps.read_generator(reader)
        found["nominal_attributes"] = tree_dumps.read_names(reader)
        model: Any
        if kind == _LOGISTIC:
            model = ScaledLogisticRegression(**logistic).to_river()
        elif kind == _ADAPTIVE_TREE:
            model = HoeffdingAdaptiveTreeClassifier(
                **found, **adaptive, drift_detector=drift_detector
            )
        else:
            del found["seed"]
            model = HoeffdingTreeClassifier(**found)
        own = cls._own_parameters(int(draw), rate, detector)
        return {"model": model, "n_models": int(n_models), "seed": seed, **own}

    @classmethod
    def _own_parameters(cls, draw: int, rate: float, detector: drift.ADWIN) -> dict[str, Any]:
        return {}


class ADWINBaggingClassifier(AdwinBaggingKernel, _Bagging):  # type: ignore[misc]
    """River's `ensemble.ADWINBaggingClassifier`, compiled; parameters are River's.

    The model to bag is a Hoeffding tree, an adaptive tree with a seed, or
    `StandardScaler | LogisticRegression`, River's or compiled.

    Examples
    --------
    >>> from river.datasets import synth
    >>> tree = HoeffdingTreeClassifier(grace_period=100)
    >>> model = ADWINBaggingClassifier(tree, n_models=3, seed=1)
    >>> n_right = 0
    >>> for x, y in synth.Agrawal(seed=42).take(1_000):
    ...     n_right += model.predict_one(x) == y
    ...     model.learn_one(x, y)
    >>> n_right, model.n_nodes
    (865, [5, 5, 5])
    """

    _KIND = "ADWINBaggingClassifier"
    _WATCHES_HITS = True

    def __init__(self, model: base.Estimator, n_models: int = 10, seed: int | None = None) -> None:
        self._begin(locals())

    def _rules(self) -> tuple[int, float, drift.ADWIN]:
        return _POISSON, 1.0, drift.ADWIN()


class LeveragingBaggingClassifier(LeveragingBaggingKernel, _Bagging):  # type: ignore[misc]
    """River's `ensemble.LeveragingBaggingClassifier`, compiled; parameters are River's.

    The model to bag is as for `ADWINBaggingClassifier`. Of the methods there are `bag`, `wt` and
    `subag`: in River 0.26 `me` and `half` fail at the first event.

    Examples
    --------
    >>> from river.datasets import synth
    >>> tree = HoeffdingTreeClassifier(grace_period=100)
    >>> model = LeveragingBaggingClassifier(tree, n_models=3, seed=1)
    >>> n_right = 0
    >>> for x, y in synth.Agrawal(seed=42).take(1_000):
    ...     n_right += model.predict_one(x) == y
    ...     model.learn_one(x, y)
    >>> n_right, model.n_detected_changes
    (960, 0)
    """

    _KIND = "LeveragingBaggingClassifier"
    _WATCHES_HITS = False
    _METHODS: ClassVar[dict[str, int]] = {
        "bag": _POISSON,
        "wt": _ONE_MORE,
        "subag": _AT_MOST_ONCE,
    }

    def __init__(
        self,
        model: base.Estimator,
        n_models: int = 10,
        w: float = 6,
        adwin_delta: float = 0.002,
        bagging_method: str = "bag",
        seed: int | None = None,
    ) -> None:
        self._begin(locals())

    @property
    def n_detected_changes(self) -> int:
        """How often the worst member was replaced."""
        return int(self._statistics()[0])

    @property
    def bagging_methods(self) -> tuple[str, ...]:
        """The methods that are compiled."""
        return tuple(self._METHODS)

    def _rules(self) -> tuple[int, float, drift.ADWIN]:
        if self.bagging_method not in self._METHODS:
            methods = ", ".join(self._METHODS)
            raise ValueError(
                f"bagging_method must be one of {methods}, not {self.bagging_method!r}"
            )
        return self._METHODS[self.bagging_method], self.w, drift.ADWIN(delta=self.adwin_delta)

    @classmethod
    def _own_parameters(cls, draw: int, rate: float, detector: drift.ADWIN) -> dict[str, Any]:
        methods = {number: name for name, number in cls._METHODS.items()}
        return {
            "w": tree_dumps.plain(rate),
            "adwin_delta": detector.delta,
            "bagging_method": methods[draw],
        }


def _compiled(model: Any) -> tuple[Any, int]:
    """Give the compiled twin of the model to bag, and which of the three it is."""
    from models.compiled.twins import compiled_twin

    twin = compiled_twin(model)
    if type(twin) not in _BASES:
        raise ValueError(f"the model to bag must have a compiled twin; this has none: {model!r}")
    if getattr(twin, "seed", 0) is None:
        raise ValueError("an adaptive tree to bag must have a seed: its clones draw from it")
    return twin, _BASES.index(type(twin))
