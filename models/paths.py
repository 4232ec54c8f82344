"""Path attribution: which features led a tree to what it says, and how far each moved it.

A node's value is the share of positives in all that the leaves below it have seen, their counts
added up, or, where numbers are predicted, the mean of their targets; so a split's value is the mean
of its branches'. From the root, whose value is the base,
each split on an event's way is credited with the change to the value of the branch that is taken
(Saabas, "Interpreting random forests", 2014; Palczewska, Palczewski, Robinson and Neagu,
"Interpreting random forest models using a feature contribution method", 2013). Where a leaf
predicts by its counts, or its mean, that adds up to its score exactly.

Where it predicts by naive Bayes, as most here do, the evidence moves the share that it has on to
its score: what speaks for a positive and what speaks against are two players with a Shapley value
each, which features share by their log-likelihood ratios. So a tree that has not split yet has
reasons as well, and these stay between -1 and 1 where the evidence nearly cancels out.

A forest's are the mean of its trees', weighted as their votes. Where a forest of numbers predicts
the median, the tree that says it is what is explained, or the two in the middle. What nobody is
credited with, and is left to the rest: a way taken for want of a feature, an alternate of an
adaptive tree (as far as it differs from the node that it stands beside), a leaf that has seen
nothing, and naive Bayes between other than two classes.

Trees of numbers whose leaves may predict by a linear model have no path attribution: a weight times
a value is measured from zero and not from the leaf's mean, so beside what the splits on a feature
are credited with it would count that feature twice, and often with the wrong sign.

Why the counts of leaves, and not what a node had seen when it was split: River keeps the latter for
good, however old it gets, and a compiled tree not at all. The counts are part of every dump, and
so both give the same.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from river import ensemble, forest, tree
from river.tree.nodes.branch import DTBranch

from models.types import Features, FeatureValue

_TREES = (tree.HoeffdingTreeClassifier, tree.HoeffdingAdaptiveTreeClassifier)
_REGRESSORS = (tree.HoeffdingTreeRegressor, forest.ARFRegressor)
_BAGS = (
    ensemble.BaggingClassifier,
    ensemble.ADWINBaggingClassifier,
    ensemble.LeveragingBaggingClassifier,
)
_LOGIT_MAX = 700.0


class Told(NamedTuple):
    """Why P(True), or the number that is predicted, is what it is, by column."""

    base: float
    names: Sequence[str]
    values: Sequence[FeatureValue]
    contributions: Sequence[float]
    total: float


def path_attributions(model: Any, batch: Sequence[Features]) -> list[Told] | None:
    """Explain what trees say of events; None of what is not made of trees only.

    Nor of trees with linear models in their leaves.

    Compiled trees remember their sums, and learning an event costs them those on its way. River's
    are added up anew for each batch.

    Examples
    --------
    >>> model = tree.HoeffdingTreeClassifier(grace_period=20, leaf_prediction="mc")
    >>> for i in range(200):
    ...     model.learn_one({"a": i % 10, "b": 1}, i % 10 > 6)
    >>> (told,) = path_attributions(model, [{"a": 9, "b": 1}])
    >>> round(told.base, 1), [round(c, 1) for c in told.contributions], round(told.total, 1)
    (0.3, [0.7, 0.0], 1.0)
    """
    if (compiled := getattr(model, "path_attributions", None)) is not None:
        found = compiled(batch)
        return None if found is None else list(map(Told._make, found))
    explainer: _Explainer
    if type(model) in _REGRESSORS and model.leaf_prediction == "mean":
        explainer = _NumberExplainer(model)
    elif _is_of_trees(model):
        explainer = _ClassExplainer(model)
    else:
        return None
    return [explainer.explain(x) for x in batch]


def share_out(curve: Callable[[float], float], start: float, steps: Sequence[float]) -> list[float]:
    """Share out what a rising curve rises or falls by, from `start` over all steps, among these.

    Steps up and steps down are two players with a Shapley value each, which they share by size.

    Examples
    --------
    >>> share_out(lambda x: x, 1.0, [3.0, -1.0])
    [3.0, -1.0]
    >>> [round(part, 3) for part in share_out(math.exp, 0.0, [1.0, 1.0, -2.0])]
    [1.813, 1.813, -3.627]
    """
    up = sum(step for step in steps if step > 0.0)
    down = sum(step for step in steps if step < 0.0)
    before, after = curve(start), curve(start + (up + down))
    high, low = curve(start + up), curve(start + down)
    gain = 0.5 * ((high - before) + (after - low))
    loss = 0.5 * ((low - before) + (after - high))
    return [
        gain * (step / up) if step > 0.0 else loss * (step / down) if step < 0.0 else 0.0
        for step in steps
    ]


def _is_of_trees(model: Any) -> bool:
    if type(model) in _BAGS:
        return type(model.model) in _TREES
    return type(model) in (*_TREES, forest.ARFClassifier)


def _voters(model: Any) -> Iterator[tuple[Any, float]]:
    """Give the trees and how much each counts."""
    match model:
        case forest.ARFClassifier():
            for i, one in enumerate(model):
                accuracy = model._metrics[i].get()
                is_weighted = not model.disable_weighted_vote and accuracy > 0.0
                yield one, accuracy if is_weighted else 1.0
        case tree.HoeffdingTreeClassifier():
            yield model, 1.0
        case _:
            for one in model:
                yield one, 1.0


def _shares(said: Sequence[float], errors: Sequence[float], model: Any) -> list[float]:
    """Give what each tree of a forest of numbers counts for in what is predicted."""
    n = len(said)
    if model.aggregation_method == "median":
        order = sorted(range(n), key=said.__getitem__)
        shares = [0.0] * n
        for at in (order[(n - 1) // 2], order[n // 2]):
            shares[at] += 0.5
        return shares
    if model.disable_weighted_vote or not math.fsum(errors):
        return [1.0 / n] * n
    # The greater its error, the less; and of weights that add up to 1, River takes the mean.
    # One tree alone would have the weight 0 / 0, and predicts it.
    scale = (n - 1) * math.fsum(errors) or math.nan
    return [(math.fsum(errors) - error) / scale / n for error in errors]


class _Explainer(ABC):
    """Explains trees of River's as they stand now; make another one after they have learned."""

    def __init__(self, model: Any) -> None:
        self._model = model
        # By identity: of positives or targets, and of all. The nodes live as long as the model
        # stands still.
        self._masses: dict[int, tuple[float, float]] = {}

    @abstractmethod
    def explain(self, x: Features) -> Told:
        """Explain what the trees say of one event."""

    @abstractmethod
    def _seen(self, leaf: Any) -> tuple[float, float]:
        """Give what a leaf has seen: of positives or targets, added up, and of all."""

    def _credit_splits(
        self, path: Sequence[Any], x: Features, times: float, contributions: dict[str, float]
    ) -> None:
        value = self._value(path[0], 0.0)
        for split, branch in pairwise(path):
            after = self._value(branch, value)
            if split.feature in contributions:
                contributions[split.feature] += times * (after - value)
            value = after

    def _value(self, node: Any, otherwise: float) -> float:
        part, total = self._mass(node)
        return part / total if total > 0.0 else otherwise

    def _mass(self, node: Any) -> tuple[float, float]:
        if (known := self._masses.get(id(node))) is not None:
            return known
        if isinstance(node, DTBranch):
            below = [self._mass(child) for child in node.children]
            found = sum(part for part, _ in below), sum(total for _, total in below)
        else:
            found = self._seen(node)
        self._masses[id(node)] = found
        return found


class _NumberExplainer(_Explainer):
    """Of trees whose leaves predict the means of their targets."""

    def explain(self, x: Features) -> Told:
        total = float(self._model.predict_one(x))
        contributions = dict.fromkeys(x, 0.0)
        base = 0.0
        for voter, times in self._voters(x):
            if times and voter._root is not None:
                ((path, _),) = _ways(voter, x)
                base += times * self._value(path[0], 0.0)
                self._credit_splits(path, x, times, contributions)
        return Told(base, list(x), list(x.values()), list(contributions.values()), total)

    def _voters(self, x: Features) -> list[tuple[Any, float]]:
        model = self._model
        if isinstance(model, tree.HoeffdingTreeRegressor):
            return [(model, 1.0)]
        trees = list(model)
        said = [float(one.predict_one(x)) for one in trees]
        errors = [model._metrics[i].get() for i in range(len(trees))]
        return list(zip(trees, _shares(said, errors, model), strict=True))

    def _seen(self, leaf: Any) -> tuple[float, float]:
        n = leaf.stats.mean.n
        return n * leaf.stats.mean.get(), n


class _ClassExplainer(_Explainer):
    """Of trees that say P(True)."""

    def explain(self, x: Features) -> Told:
        total = float(self._model.predict_proba_one(x).get(True, 0.0))
        contributions = dict.fromkeys(x, 0.0)
        base = votes = 0.0
        for voter, times in _voters(self._model):
            if voter._root is None:
                continue
            leaves = [(path, leaf, _loudness(voter, leaf, x)) for path, leaf in _ways(voter, x)]
            loud = math.fsum(loudness for _, _, loudness in leaves)
            if not loud > 0.0:
                continue
            votes += times
            base += times * self._value(voter._root, 0.0)
            for path, leaf, loudness in leaves:
                part = times * loudness / loud
                self._credit_splits(path, x, part, contributions)
                _credit_leaf(voter, leaf, x, part, contributions)
        scale = 1.0 / votes if votes else 1.0
        told = [scale * contribution for contribution in contributions.values()]
        return Told(scale * base, list(x), list(x.values()), told, total)

    def _seen(self, leaf: Any) -> tuple[float, float]:
        return leaf.stats.get(True, 0.0), sum(leaf.stats.values())


def _ways(voter: Any, x: Features) -> Iterator[tuple[list[Any], Any]]:
    """Give the ways from the root to the leaves whose votes count, and these."""
    path: list[Any] = [voter._root]
    n_met = 1
    at = path[0]
    while isinstance(at, DTBranch):
        split: Any = at
        alternate = getattr(split, "_alternate_tree", None)
        # River meets a node twice that it was sent to for want of a feature.
        for _ in range(n_met if alternate is not None else 0):
            yield path.copy(), alternate
        try:
            at = split.next(x)
            n_met = 1
        except KeyError:
            _, at = split.most_common_path()
            n_met = 2
        path.append(at)
    yield path, at


def _loudness(voter: Any, leaf: Any, x: Features) -> float:
    votes: dict[Any, float] = leaf.prediction(x, tree=voter) or {}
    return sum(votes.values())


def _credit_leaf(
    voter: Any, leaf: Any, x: Features, times: float, contributions: dict[str, float]
) -> None:
    stats = leaf.stats
    if not _votes_by_bayes(voter, leaf) or len(stats) != 2 or min(stats.values()) <= 0.0:
        return
    if True not in stats:
        return
    (other,) = (label for label in stats if label != True)  # noqa: E712 - it may be 1 as well
    observers = {name: seen for name, seen in leaf.splitters.items() if name in x}
    ratios = [
        _log_likelihood(seen, x[name], True) - _log_likelihood(seen, x[name], other)
        for name, seen in observers.items()
    ]
    prior = math.log(stats[True] / stats[other])
    if math.isfinite(math.fsum(map(abs, ratios))):
        for name, part in zip(observers, share_out(_sigmoid, prior, ratios), strict=True):
            contributions[name] += times * part


def _votes_by_bayes(voter: Any, leaf: Any) -> bool:
    if not leaf.is_active():
        return False
    match voter.leaf_prediction:
        case "nb":
            return bool(leaf.total_weight >= voter.nb_threshold)
        case "nba":
            return bool(leaf._nb_correct_weight >= leaf._mc_correct_weight)
    return False


def _log_likelihood(observer: Any, value: FeatureValue, label: Any) -> float:
    # As in River's `do_naive_bayes_prediction`.
    if (log_likelihood := getattr(observer, "cond_log_proba", None)) is not None:
        found = float(log_likelihood(value, label))
        return found if found > -math.inf else 0.0
    likelihood = observer.cond_proba(value, label)
    return math.log(likelihood) if likelihood > 0.0 else 0.0


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(min(-logit, _LOGIT_MAX)))
