"""What compiled trees remember of dicts and texts that they have read never shows.

The reference learns and predicts in batches, of which nothing is remembered: one that predicted for
single dicts, too, would be wrong in the same way.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
from models.compiled.forest import ARFClassifier
from models.compiled.trees import HoeffdingTreeClassifier

Row = tuple[dict[str, Any], bool]


class Text(str):
    """A text that is looked up as River would."""


class Holder:
    """An object whose attributes are the features."""


def _rows(n: int, n_categories: int, category: str = "category") -> list[Row]:
    draw = random.Random(5)
    categories = [f"{category} {i}" for i in range(n_categories)]
    return [
        ({"text": draw.choice(categories), "number": (number := draw.random())}, number > 0.6)
        for _ in range(n)
    ]


def _learn(reference: Any, x: dict[str, Any], y: bool) -> None:
    reference.learn_dicts([dict(x)], [y])


def _prediction(reference: Any, x: dict[str, Any]) -> Any:
    [said] = reference.predict_proba_dicts([dict(x)])
    return said


def _set_items(x: dict[str, Any], row: dict[str, Any]) -> None:
    for name, value in row.items():
        x[name] = value


def _set_one(x: dict[str, Any], row: dict[str, Any]) -> None:
    x["number"] = row["number"]


def _clear(x: dict[str, Any], row: dict[str, Any]) -> None:
    x.clear()
    x.update(row)


def _reorder(x: dict[str, Any], row: dict[str, Any]) -> None:
    x.popitem()
    x.pop("text", None)
    x.setdefault("number", row["number"])
    x |= {"text": row["text"]}


def _drop(x: dict[str, Any], row: dict[str, Any]) -> None:
    x.update(row)
    del x["text"]


@pytest.mark.parametrize("change", [dict.update, _set_items, _set_one, _clear, _reorder, _drop])
@pytest.mark.parametrize(
    "make",
    [
        HoeffdingTreeClassifier,
        lambda: HoeffdingAdaptiveTreeClassifier(seed=7),
        lambda: ARFClassifier(n_models=2, seed=7),
    ],
    ids=["tree", "adaptive", "forest"],
)
def test_a_dict_that_changed_since_it_was_predicted_for_is_read_again(
    make: Callable[[], Any], change: Callable[[dict[str, Any], dict[str, Any]], None]
) -> None:
    """As River reads it: what is learned is what it holds then."""
    model, reference = make(), make()
    x: dict[str, Any] = {"text": "category 0", "number": 0.0}
    for row, y in _rows(600, 5):
        model.predict_proba_one(x)
        change(x, row)
        model.learn_one(x, y)
        _learn(reference, x, y)
        assert model.predict_proba_one(x) == _prediction(reference, x)
    assert model.dump() == reference.dump()


def test_attributes_that_changed_since_they_were_predicted_for_are_read_again() -> None:
    """The interpreter has ways of its own to set those."""
    model, reference = HoeffdingTreeClassifier(), HoeffdingTreeClassifier()
    holder: Any = Holder()
    for row, y in _rows(600, 5):
        model.predict_proba_one(vars(holder))
        holder.text = row["text"]
        holder.number = row["number"]
        model.learn_one(vars(holder), y)
        _learn(reference, row, y)
    assert model.dump() == reference.dump()


def test_a_dict_is_read_again_after_others() -> None:
    """Alone or in a batch, predicted for or learned."""
    model, reference = HoeffdingTreeClassifier(), HoeffdingTreeClassifier()
    rows = _rows(1_000, 5)
    for i, (x, y) in enumerate(rows):
        other, label = rows[i - 1]
        model.predict_proba_one(x)
        if i % 4 == 0:
            model.predict_proba_one(other)
        elif i % 4 == 1:
            model.predict_proba_dicts([other])
        elif i % 4 == 2:
            model.learn_one(other, label)
            _learn(reference, other, label)
        else:
            model.learn_dicts([other], [label])
            _learn(reference, other, label)
        model.learn_one(x, y)
        _learn(reference, x, y)
        assert model.predict_proba_one(x) == _prediction(reference, x)
    assert model.dump() == reference.dump()


def test_a_dict_that_was_refused_is_read_again() -> None:
    """The label was wrong, the features were not."""
    model, reference = HoeffdingTreeClassifier(), HoeffdingTreeClassifier()
    for i, (x, y) in enumerate(_rows(1_000, 5)):
        if i % 2:
            model.predict_proba_one(x)
        if i:
            with pytest.raises(TypeError):
                model.learn_one(x, "yes")
        assert model.predict_proba_one(x) == _prediction(reference, x)
        model.learn_one(x, y)
        _learn(reference, x, y)
    assert model.dump() == reference.dump()


def test_a_class_may_come_with_a_dict_that_was_predicted_for() -> None:
    """It is new, the dict is not."""
    model, reference = HoeffdingTreeClassifier(), HoeffdingTreeClassifier()
    x: dict[str, Any] = {"text": "category 0", "number": 0.5}
    for label in ("fair", "fraud", "unclear"):
        model.predict_proba_one(x)
        model.learn_one(x, label)
        reference.learn_dicts([dict(x)], [label])
        assert model.predict_proba_one(x) == _prediction(reference, x)
    assert list(model.predict_proba_one(x)) == ["fair", "fraud", "unclear"]
    assert model.dump() == reference.dump()


# Of one byte a letter and of two, and of more letters than are compared.
@pytest.mark.parametrize("category", ["category", "caf\u00e9", "\u0142\u00f3d\u017a", "long" * 20])
def test_more_texts_than_are_remembered_stay_apart(category: str) -> None:
    """Each keeps its own category, however they are looked up."""
    model, plain = HoeffdingTreeClassifier(), HoeffdingTreeClassifier()
    rows = _rows(4_000, 900, category)
    for x, y in rows:
        model.learn_one(x, y)
        plain.learn_one({**x, "text": Text(x["text"])}, y)
    assert model.dump() == plain.dump()
    for x, _ in rows:
        assert model.predict_proba_one(x) == plain.predict_proba_one({**x, "text": Text(x["text"])})
