"""What compiled trees remember of dicts and texts that they have read never shows."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.trees import HoeffdingTreeClassifier


class Text(str):
    """A text that is looked up as River would."""


def _rows(n: int, n_categories: int) -> list[tuple[dict[str, Any], bool]]:
    draw = random.Random(5)
    categories = [f"category {i}" for i in range(n_categories)]
    return [
        ({"text": draw.choice(categories), "number": (number := draw.random())}, number > 0.6)
        for _ in range(n)
    ]


def test_a_dict_that_changed_since_it_was_predicted_for_is_read_again() -> None:
    """As River reads it: what is learned is what it holds then."""
    model, plain = HoeffdingTreeClassifier(), HoeffdingTreeClassifier()
    x: dict[str, Any] = {"text": "a", "number": 0.0}
    for row, y in _rows(1_000, 5):
        model.predict_proba_one(x)
        x.update(row)
        model.learn_one(x, y)
        plain.learn_one(dict(row), y)
        assert model.predict_proba_one(x) == plain.predict_proba_one(dict(row))
    assert model.dump() == plain.dump()


def test_a_dict_that_was_refused_is_read_again() -> None:
    """The label was wrong, the features were not."""
    model, plain = HoeffdingTreeClassifier(), HoeffdingTreeClassifier()
    for x, y in _rows(1_000, 5):
        if plain.n_nodes:
            with pytest.raises(TypeError):
                model.learn_one(x, "yes")
        assert model.predict_proba_one(x) == plain.predict_proba_one(dict(x))
        model.learn_one(x, y)
        plain.learn_one(dict(x), y)
    assert model.dump() == plain.dump()


def test_more_texts_than_are_remembered_stay_apart() -> None:
    """Each keeps its own category, however they are looked up."""
    model, plain = HoeffdingTreeClassifier(), HoeffdingTreeClassifier()
    rows = _rows(4_000, 900)
    for x, y in rows:
        model.learn_one(x, y)
        plain.learn_one({**x, "text": Text(x["text"])}, y)
    assert model.dump() == plain.dump()
    for x, _ in rows:
        assert model.predict_proba_one(x) == plain.predict_proba_one({**x, "text": Text(x["text"])})
