"""Why a score is what it is: the features that pushed it, with signed contributions.

Three methods, by what the model is:

- **linear**: of a linear model, also after a scaler or other transformers, each weight times its
  (scaled) value. They and the intercept add up to the margin, which is exact.
- **path**: of a tree or a forest that says P(True) or a mean, how much each split on an event's way
  moves it, and naive Bayes where that way ends (see `models.paths`). It costs a few predictions.
- **occlusion**: of any other model, how much the score falls when a feature alone is replaced by
  what is usual for it among the examples that the learner keeps as probes (the mean of numbers, the
  commonest of others; Zeiler and Fergus, ECCV 2014, do so with parts of pictures). It costs one
  prediction for each feature and two more. What features do only together is in `rest`.

In all, `base + contributions + rest` is what was explained: `rest` holds what the features that
are not listed contribute, and what no feature does alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import msgspec
from river import compose, linear_model, preprocessing

from models.paths import path_attributions, share_out
from models.rare import HonestScores
from models.types import Features, FeatureValue


class Reason(msgspec.Struct, frozen=True, gc=False):
    """A feature's part in a score: its value, what is usual for it, and how far it pushed."""

    feature: str
    value: FeatureValue
    usual: FeatureValue | None
    contribution: float
    text: str


class Reasons(msgspec.Struct, frozen=True, gc=False):
    """The features that pushed a score the most, the strongest first.

    `unit` is that of the contributions: log_odds, or that of the score itself.
    """

    method: str
    unit: str
    base: float
    rest: float
    features: tuple[Reason, ...]


class Part(NamedTuple):
    """What one feature contributes."""

    feature: str
    value: FeatureValue
    usual: FeatureValue | None
    contribution: float


class Attribution(NamedTuple):
    """All contributions to one score, by column: most of them are never told."""

    method: str
    unit: str
    base: float
    names: Sequence[str]
    values: Sequence[FeatureValue]
    usual: Sequence[FeatureValue | None]
    contributions: Sequence[float]
    total: float
    """The score or margin that is explained."""

    @property
    def parts(self) -> list[Part]:
        """What each feature contributes."""
        columns = self.names, self.values, self.usual, self.contributions
        return list(map(Part._make, zip(*columns, strict=True)))

    def corrected(self, honest: HonestScores) -> Attribution:
        """Give the attribution of the score that is published where the model's is corrected."""
        if self.method == "occlusion":  # It is of published scores.
            return self
        if self.unit == "log_odds":
            slope, shift = honest.line
            return self._replace(
                base=slope * self.base + shift,
                contributions=[slope * contribution for contribution in self.contributions],
                total=slope * self.total + shift,
            )

        def curve(p: float) -> float:
            return honest.correct([min(1.0, max(0.0, p))])[0]

        rest = self.total - self.base - math.fsum(self.contributions)
        *contributions, _ = share_out(curve, self.base, [*self.contributions, rest])
        return self._replace(
            base=curve(self.base), contributions=contributions, total=curve(self.total)
        )

    def top(self, n: int, names: Mapping[str, str]) -> Reasons:
        """Keep the `n` parts that pushed the most, under names that people read."""
        contributions = self.contributions
        pushes = list(map(abs, contributions))
        strongest = sorted(range(len(pushes)), key=pushes.__getitem__, reverse=True)[:n]
        kept = [i for i in strongest if pushes[i]]
        rest = self.total - self.base - math.fsum([contributions[i] for i in kept])
        reasons = []
        for i in kept:
            name, value, usual = self.names[i], self.values[i], self.usual[i]
            text = _text(names.get(name, name), value, usual)
            reasons.append(Reason(name, value, usual, contributions[i], text))
        return Reasons(self.method, self.unit, self.base, rest, tuple(reasons))


class LinearExplainer:
    """Explains a linear model as it stands now; make another one after it has learned.

    Examples
    --------
    >>> from river import optim
    >>> model = linear_model.LinearRegression(optimizer=optim.SGD(0.5), intercept_init=2.0)
    >>> model.learn_one({"a": 1.0}, 3.0)
    >>> found = LinearExplainer([], model)({"a": 4.0})
    >>> found.base, [(part.feature, part.contribution) for part in found.parts], found.total
    (2.02, [('a', 4.0)], 6.02)
    """

    def __init__(self, transformers: Sequence[Any], regression: Any) -> None:
        self._transformers = transformers
        self._weights: dict[str, float] = regression.weights
        self._intercept = float(regression.intercept)
        scaler = transformers[-1] if transformers else None
        self._means = scaler.means if type(scaler) is preprocessing.StandardScaler else None
        is_classifier = isinstance(regression, linear_model.LogisticRegression)
        self._unit = "log_odds" if is_classifier else "score"

    def __call__(self, features: Features) -> Attribution:
        """Explain the margin of one event."""
        x: Any = features
        shown: Any = features
        for transformer in self._transformers:
            shown, x = x, transformer.transform_one(x)
        means, weights = self._means, self._weights
        names = list(x)
        contributions = [float(weights.get(name, 0.0) * value) for name, value in x.items()]
        if means is None:
            shown = x
        values = [shown[name] for name in names]
        usual = [None if means is None else float(means[name]) for name in names]
        total = math.fsum(contributions) + self._intercept
        columns = names, values, usual, contributions
        return Attribution("linear", self._unit, self._intercept, *columns, total)


class UsualValues:
    """What is usual for each feature, found again when there are other probes."""

    def __init__(self) -> None:
        self._probes: Sequence[Features] = ()
        self._n = 0
        self._found: dict[str, FeatureValue] = {}

    def of(self, probes: Sequence[Features]) -> dict[str, FeatureValue]:
        """Give what is usual among probes, of which there may be more each time."""
        if probes is not self._probes or len(probes) != self._n:
            self._found = usual_values(probes)
            self._probes, self._n = probes, len(probes)
        return self._found


def _steps(model: Any) -> list[Any]:
    if not isinstance(model, compose.Pipeline):
        return [model]
    return [inner for step in model.steps.values() for inner in _steps(step)]


ScoreMany: TypeAlias = Callable[[Sequence[Features]], Sequence[float]]


def explain(
    model: Any,
    batch: Sequence[Features],
    usual: Callable[[], Mapping[str, FeatureValue]],
    score_many: ScoreMany,
) -> list[Attribution]:
    """Explain the scores that a model gives now, by the method that fits it.

    `usual` gives what is usual for each feature, `score_many` the scores where no other way is
    left than to ask for them.
    """
    *transformers, last = _steps(model)
    if (attributions := getattr(last, "attributions", None)) is not None:
        # The same as `LinearExplainer` gives, without River's objects between: alerts pass here.
        intercept, columns = attributions(_transform(transformers, batch))
        return [Attribution("linear", "log_odds", intercept, *each) for each in columns]
    if isinstance(last, linear_model.LogisticRegression | linear_model.LinearRegression):
        return list(map(LinearExplainer(transformers, last), batch))
    known = usual()
    paths = _explain_paths(transformers, last, batch, known)
    return paths or [occlude(features, known, score_many) for features in batch]


def _transform(transformers: Sequence[Any], rows: Sequence[Any]) -> Sequence[Any]:
    for transformer in transformers:
        rows = list(map(transformer.transform_one, rows))
    return rows


def _explain_paths(
    transformers: Sequence[Any],
    trees: Any,
    batch: Sequence[Features],
    usual: Mapping[str, FeatureValue],
) -> list[Attribution] | None:
    # Scaled values mean nothing to people, and of what else was made of features nothing is usual.
    is_scaled = bool(transformers) and type(transformers[-1]) is preprocessing.StandardScaler
    others, scalers = (transformers[:-1], transformers[-1:]) if is_scaled else (transformers, [])
    shown = _transform(others, batch)
    told = path_attributions(trees, _transform(scalers, shown))
    if told is None:
        return None
    found = []
    for (base, names, _, contributions, total), x in zip(told, shown, strict=True):
        values = [x[name] for name in names]
        usually = [None if others else usual.get(name) for name in names]
        columns = names, values, usually, contributions
        found.append(Attribution("path", "score", base, *columns, total))
    return found


def usual_values(probes: Sequence[Features]) -> dict[str, FeatureValue]:
    """Give what is usual for each feature of some examples.

    Examples
    --------
    >>> usual_values([{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}, {"b": "x"}])
    {'a': 1.5, 'b': 'x'}
    """
    seen: dict[str, list[FeatureValue]] = {}
    for probe in probes:
        for name, value in probe.items():
            seen.setdefault(name, []).append(value)
    return {name: _usual(values) for name, values in seen.items()}


def _usual(values: list[FeatureValue]) -> FeatureValue:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        return math.fsum(numbers) / len(numbers)
    return Counter(values).most_common(1)[0][0]


def occlude(
    features: Features, usual: Mapping[str, FeatureValue], score_many: ScoreMany
) -> Attribution:
    """Explain one score of any model by replacing its features, one after the other.

    Examples
    --------
    >>> both = lambda rows: [row["a"] * 0.1 + row["b"] * 0.2 for row in rows]
    >>> found = occlude({"a": 4.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, both)
    >>> round(found.base, 9), [round(part.contribution, 9) for part in found.parts]
    (0.3, [0.3, 0.0])
    """
    known = [name for name in features if name in usual]
    rows = [features, {**features, **{name: usual[name] for name in known}}]
    rows += [{**features, name: usual[name]} for name in known]
    total, base, *without = map(float, score_many(rows))
    values, replaced = [features[name] for name in known], [usual[name] for name in known]
    columns = known, values, replaced, [total - score for score in without]
    return Attribution("occlusion", "score", base, *columns, total)


def _text(name: str, value: FeatureValue, usual: FeatureValue | None) -> str:
    return f"{name} {_readable(value)}{_beside(usual)}"


@lru_cache(maxsize=256, typed=True)  # It is the same for a whole batch.
def _beside(usual: FeatureValue | None) -> str:
    return "" if usual is None else f", usual {_readable(usual)}"


def _readable(value: FeatureValue) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if -1e3 < value < 1e3 else f"{value:,.0f}"
