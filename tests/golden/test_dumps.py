"""Dumps of every format that was ever released stay loadable, and predict as they did."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.dumps import DumpReader
from models.compiled.logistic import ScaledLogisticRegression

FOLDER = Path(__file__).parent / "dumps"
ESTIMATORS = {"ScaledLogisticRegression": ScaledLogisticRegression}
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
    said = [model.predict_proba_one(x)[True] for x in entry["events"]]
    assert said == pytest.approx(entry["predictions"], rel=1e-12)
    assert model.dump() == dump


@pytest.mark.parametrize("entry", DUMPS)
def test_a_damaged_dump_is_refused_and_changes_nothing(entry: dict[str, Any]) -> None:
    """Any flipped bit, any missing end, and what another estimator or format wrote."""
    dump = base64.b64decode(entry["dump"])
    model = ESTIMATORS[entry["estimator"]].load(dump)
    damaged = [
        dump[:at] + bytes([dump[at] ^ 1 << at % 8]) + dump[at + 1 :] for at in range(len(dump))
    ]
    for wrong in (*damaged, *(dump[:at] for at in range(len(dump))), dump + b"\0"):
        with pytest.raises(ValueError, match=r"no dump|damaged"):
            model.__setstate__(wrong)
        with pytest.raises(ValueError, match=r"no dump|damaged"):
            DumpReader(wrong, entry["estimator"])
    assert model.dump() == dump
