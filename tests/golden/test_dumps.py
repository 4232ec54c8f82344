"""Dumps of every format that was ever released stay loadable, and predict as they did."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
from models.compiled.bagging import ADWINBaggingClassifier, LeveragingBaggingClassifier
from models.compiled.dumps import DumpReader
from models.compiled.forest import ARFClassifier
from models.compiled.half_space import HalfSpaceTrees
from models.compiled.logistic import ScaledLogisticRegression
from models.compiled.naive_bayes import GaussianNB
from models.compiled.regression_forest import ARFRegressor
from models.compiled.regression_trees import HoeffdingTreeRegressor, RegressionTrees
from models.compiled.trees import HoeffdingTreeClassifier

FOLDER = Path(__file__).parent / "dumps"
ESTIMATORS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        ScaledLogisticRegression,
        GaussianNB,
        HoeffdingTreeClassifier,
        HoeffdingAdaptiveTreeClassifier,
        ARFClassifier,
        ADWINBaggingClassifier,
        LeveragingBaggingClassifier,
        HalfSpaceTrees,
        HoeffdingTreeRegressor,
        ARFRegressor,
    )
}
DUMPS = [
    pytest.param(entry, id=f"{file.stem}-{entry['name']}")
    for file in sorted(FOLDER.glob("*.json"))
    for entry in json.loads(file.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("entry", DUMPS)
def test_a_dump_of_this_format_loads_predicts_and_is_written_again(entry: dict[str, Any]) -> None:
    """Equal state, equal bytes; the mathematics library of another machine may round otherwise."""
    dump = base64.b64decode(entry["dump"])
    model = ESTIMATORS[entry["estimator"]].load(dump)
    for items, expected in zip(entry["events"], entry["predictions"], strict=True):
        x = dict(items)
        if isinstance(model, HalfSpaceTrees):
            said = [model.score_one(x)]
        elif isinstance(model, RegressionTrees):
            said = [model.predict_one(x)]
        else:
            said = list(model.predict_proba_one(x).values())
        assert said == pytest.approx(expected, rel=1e-12)
    assert model.dump() == dump


def test_every_estimator_has_a_dump_here() -> None:
    """One that has grown: an empty state would load whatever became of the format."""
    names = {param.values[0]["estimator"] for param in DUMPS}  # type: ignore[index,call-overload]
    assert names == set(ESTIMATORS)


@pytest.mark.parametrize("entry", DUMPS)
def test_a_damaged_dump_is_refused_and_changes_nothing(entry: dict[str, Any]) -> None:
    """Flipped bits, a missing end, and what another estimator or format wrote."""
    dump = base64.b64decode(entry["dump"])
    model = ESTIMATORS[entry["estimator"]].load(dump)
    places = range(0, len(dump), 1 + len(dump) // 500)
    damaged = [dump[:at] + bytes([dump[at] ^ 1 << at % 8]) + dump[at + 1 :] for at in places]
    for wrong in (*damaged, *(dump[:at] for at in places), dump + b"\0"):
        with pytest.raises(ValueError, match=r"no dump|damaged"):
            model._restore(wrong)
        with pytest.raises(ValueError, match=r"no dump|damaged"):
            DumpReader(wrong, entry["estimator"])
    assert model.dump() == dump
