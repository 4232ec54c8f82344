"""Compiled trees against River's, event by event, at full length.

Run: DRIFTLINE_DATA=... python -m benchmarks.parity [--models forest] [--streams led]

Prints the greatest difference between two predictions, and the counts on both sides; ends with an
error at the first difference beyond 1e-12. The compiled model is dumped and loaded at random
points. `make test` does the same over fewer events. River's forest takes minutes a stream.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from river import base, forest, tree
from river.datasets import synth

from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
from models.compiled.forest import ARFClassifier
from models.compiled.regression_forest import ARFRegressor
from models.compiled.regression_trees import HoeffdingTreeRegressor
from models.compiled.tree_models import Forest
from models.compiled.trees import HoeffdingTreeClassifier
from tests import streams

TOLERANCE = 1e-12
RESTORE_EVERY = 700
PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "tree": (HoeffdingTreeClassifier, tree.HoeffdingTreeClassifier, {}),
    "adaptive": (
        HoeffdingAdaptiveTreeClassifier,
        tree.HoeffdingAdaptiveTreeClassifier,
        {"seed": 1},
    ),
    "forest": (ARFClassifier, forest.ARFClassifier, {"seed": 1}),
    "regressor": (HoeffdingTreeRegressor, tree.HoeffdingTreeRegressor, {}),
    "regression-forest": (ARFRegressor, forest.ARFRegressor, {"seed": 1}),
}
CODES = ["elevel", "car", "zipcode"]


def leds(n: int, seed: int = 1) -> Iterator[streams.Row]:
    """Seven segments of a display, some of them wrong, and the ten digits they show."""
    return iter(synth.LED(seed=seed, noise_percentage=0.1, irrelevant_features=False).take(n))


def _data(name: str) -> Path:
    return Path(os.environ["DRIFTLINE_DATA"]) / name


def _cards(n: int) -> Iterator[streams.Row]:
    # Ids by their first digits: thousands of categories make River's nominal splits take hours.
    for x, y in streams.cards(_data("card_transactions_60d.csv.gz"), n):
        ids = {"CUSTOMER_ID": x["CUSTOMER_ID"][:2], "TERMINAL_ID": "t" + x["TERMINAL_ID"][:2]}
        yield {**x, **ids}, y


STREAMS: dict[str, tuple[Callable[[int], Iterable[streams.Row]], dict[str, Any]]] = {
    "agrawal": (streams.agrawal, {}),
    "agrawal-nominal": (streams.agrawal, {"nominal_attributes": CODES}),
    "agrawal-gaps": (
        lambda n: streams.with_gaps(streams.agrawal(n), 3, lambda rng: rng.gauss(0.0, 9.0)),
        {"nominal_attributes": CODES},
    ),
    "rbf": (streams.random_rbf, {}),
    "led": (leds, {}),
    "elec2": (lambda n: streams.elec2(_data("elec2.csv.gz"), n), {}),
    "cards": (_cards, {"max_share_to_split": 1.0}),
}


def _drifting(n: int) -> Iterator[streams.Row]:
    changes = n // 3, 2 * n // 3
    return iter(synth.FriedmanDrift(drift_type="gra", position=changes, seed=1).take(n))


def _amounts(n: int) -> Iterator[streams.Row]:
    for x, y in streams.amounts(_data("card_transactions_60d.csv.gz"), n):
        yield {**x, "customer": x["customer"][:2], "terminal": "t" + x["terminal"][:2]}, y


TARGETS: dict[str, tuple[Callable[[int], Iterable[streams.Row]], dict[str, Any]]] = {
    "friedman": (streams.friedman, {}),
    "friedman-drift": (_drifting, {}),
    "codes": (streams.coded, {"nominal_attributes": ["kind", "shop"]}),
    "codes-gaps": (
        lambda n: streams.with_gaps(streams.coded(n), 3, lambda rng: rng.gauss(0.0, 9.0)),
        {"nominal_attributes": ["kind", "shop"]},
    ),
    "elec2-price": (lambda n: streams.elec2_price(_data("elec2.csv.gz"), n), {}),
    "amounts": (_amounts, {"leaf_prediction": "mean"}),
}


def streams_of(model: str) -> dict[str, Any]:
    """What a model can learn from: classes, or numbers."""
    compiled: Any = PAIRS[model][1]
    return TARGETS if issubclass(compiled, base.Regressor) else STREAMS


def said_by(model: Any, x: dict[Any, Any]) -> dict[Any, float]:
    """What is compared: a probability for each class, or the value."""
    if isinstance(model, base.Regressor):
        return {"value": model.predict_one(x)}
    said: dict[Any, float] = model.predict_proba_one(x)
    return said


def counts_of(model: Any) -> Any:
    """What both sides count: nodes, leaves, warnings, drifts."""
    if hasattr(model, "n_drifts_detected"):
        nodes = model.n_nodes if isinstance(model, Forest) else [t.n_nodes for t in model]
        return nodes, model.n_warnings_detected(), model.n_drifts_detected()
    return model.summary


def worst_difference(
    stream: Iterable[streams.Row],
    ours: Any,
    theirs: Any,
    weights: Iterator[float] | None = None,
) -> tuple[int, float]:
    """Predict and learn with both, ours through dumps now and then.

    Raises
    ------
    AssertionError
        At the first event for which classes, probabilities or counts differ.
    """
    rng = random.Random(5)
    n, worst = 0, 0.0
    for n, (x, y) in enumerate(stream, start=1):
        said, expected = said_by(ours, x), said_by(theirs, x)
        if not isinstance(y, str):
            # River's adaptive tree has classes that are text in an order of the process.
            assert list(said) == list(expected), (n, said, expected)
        assert said.keys() == expected.keys(), (n, said, expected)
        difference = max((abs(said[cls] - expected[cls]) for cls in said), default=0.0)
        worst = max(worst, difference)
        assert difference <= TOLERANCE, (n, said, expected, counts_of(ours), counts_of(theirs))
        if weights is None:
            theirs.learn_one(x, y)
            ours.learn_one(x, y)
        else:
            weight = next(weights)
            theirs.learn_one(x, y, w=weight)
            ours.learn_one(x, y, w=weight)
        if rng.random() < 1.0 / RESTORE_EVERY:
            dump = ours.dump()
            ours = type(ours).load(dump)
            assert ours.dump() == dump, n
    assert counts_of(ours) == counts_of(theirs)
    counted, measured = ours._memory()
    assert counted == measured
    return n, worst


def assert_parity(
    stream: Iterable[streams.Row], ours: Any, theirs: Any, weights: Iterator[float] | None = None
) -> int:
    """Fail at the first difference; say how many events there were."""
    return worst_difference(stream, ours, theirs, weights)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    every = [*STREAMS, *TARGETS]
    parser.add_argument("--models", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--streams", nargs="+", choices=every, default=every)
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    for model, stream in itertools.product(options.models, options.streams):
        if stream not in streams_of(model):
            continue
        ours, theirs, usual = PAIRS[model]
        rows, special = streams_of(model)[stream]
        parameters = {"max_depth": 20, **usual, **special}
        mine = ours(**parameters)
        start = time.perf_counter()
        river = theirs(**parameters)
        n, worst = worst_difference(rows(options.events), mine, river)
        took = time.perf_counter() - start
        print(f"{model:18}{stream:16}{n:8,} events, off by {worst:.1g} at most, {took:.0f} s")
        print(f"{'':18}{counts_of(river)}", flush=True)


if __name__ == "__main__":
    main()
