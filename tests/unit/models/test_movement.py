"""What moved: features ranked by how far, and nothing told that chance may have moved."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from models import Learner, Task, movement
from models.compiled import AVAILABLE
from models.movement import compare, compare_all, ks_chance, rank
from tests.example_logs import make_log, new_learner


def rows(n: int, rng: random.Random, shift: float = 0.0, fraud: float = 0.1) -> list[Any]:
    """Make rows of two numbers and two categories, of which the first of each may move."""
    return [
        {
            "amount": rng.gauss(shift, 1.0),
            "age": rng.gauss(0.0, 1.0),
            "channel": "web" if rng.random() < fraud else rng.choice(["shop", "post"]),
            "weekend": rng.random() < 0.3,
        }
        for _ in range(n)
    ]


def test_the_features_that_moved_are_told_in_their_order() -> None:
    """Numbers with their means, categories with the value whose share changed most."""
    rng = random.Random(1)
    moved = rank(rows(300, rng), rows(100, rng, shift=2.0, fraud=0.5))
    assert [m.feature for m in moved] == ["amount", "channel"]
    amount, channel = moved
    assert amount.before == pytest.approx(0.0, abs=0.2)
    assert amount.after == pytest.approx(2.0, abs=0.3)
    assert amount.value is None
    assert channel.value == "web"
    assert (channel.before, channel.after) == pytest.approx((0.1, 0.5), abs=0.1)


def test_chance_moves_nothing() -> None:
    """Of a hundred comparisons of like with like hardly one is told."""
    rng = random.Random(2)
    told = [m for _ in range(100) for m in rank(rows(100, rng), rows(100, rng))]
    assert len(told) <= 3


def test_the_chances_are_chances() -> None:
    """Under no change, a chance below a tenth comes about a tenth of the time, seldom oftener."""
    rng = random.Random(3)
    found: dict[str, int] = dict.fromkeys(("amount", "age", "channel", "weekend"), 0)
    for _ in range(300):
        old, new = rows(200, rng), rows(100, rng)
        for name in found:
            moved = compare(name, [r[name] for r in old], [r[name] for r in new])
            found[name] += moved.chance < 0.1
    for name, n in found.items():
        assert 5 <= n <= 50, name
    assert ks_chance(0.0, 10, 10) == 1.0


def test_rare_categories_do_not_alarm() -> None:
    """Ids that are seen once are all new all the time: that is no movement."""
    old = [f"id{i}" for i in range(300)]
    new = [f"id{i + 1000}" for i in range(100)]
    assert compare("id", old, new).chance == 1.0


def mixed_rows(n: int, rng: random.Random) -> list[Any]:
    """Make rows with ties, ints, missing values, and numbers that are sometimes no numbers."""
    return [
        {
            name: value
            for name, value in {
                "tied": rng.randrange(4),
                "either": rng.choice([1, 1.5, 2, -0.0]),
                "amount": rng.lognormvariate(3.0, 2.0),
                "huge": rng.choice([1.0, 1e300]),
                "often_text": rng.choice(["a", 3.0]),
                "flag": rng.random() < 0.5,
                "seldom": rng.gauss(0.0, 1.0) if rng.random() < 0.05 else None,
            }.items()
            if value is not None
        }
        for _ in range(n)
    ]


@pytest.mark.skipif(not AVAILABLE, reason="needs the compiled module")
@pytest.mark.parametrize("seed", range(20))
def test_the_native_code_compares_as_python_does(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit: the same log tells the same drift with and without a compiler."""
    rng = random.Random(seed)
    before, after = mixed_rows(rng.randrange(200), rng), mixed_rows(rng.randrange(200), rng)
    native = compare_all(before, after, 8)
    monkeypatch.setattr(movement, "AVAILABLE", False)
    assert native == compare_all(before, after, 8)


@pytest.mark.skipif(not AVAILABLE, reason="needs the compiled module")
def test_what_is_no_row_is_refused() -> None:
    """By a sentence, and nothing worse."""
    with pytest.raises(TypeError, match="rows must be dicts"):
        compare_all([{"a": 1.0}], [("a", 1.0)])  # type: ignore[list-item]


@pytest.mark.skipif(not AVAILABLE, reason="needs the compiled module")
def test_an_integer_beyond_all_floats_is_no_number() -> None:
    """It is left to Python, which refuses it, and is not taken for another one."""
    for huge in (10**400, -(10**400)):
        assert movement._native.compare_numbers([{"a": huge}], [{"a": -1.0}]) == {"a": None}
    assert movement._native.compare_numbers([{"a": -1}], [{"a": -1.0}])["a"] == (
        0.0,
        -1.0,
        -1.0,
        1,
        1,
    )


class Fickle(str):
    """A name that empties a row when it is compared."""

    row: dict[str, float]

    def __eq__(self, other: object) -> bool:
        self.row.clear()
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.mark.skipif(not AVAILABLE, reason="needs the compiled module")
def test_rows_may_change_while_their_names_are_compared() -> None:
    """What is being read is held on to."""
    name = Fickle("a")
    name.row = {name: 2.0**0.5, "b": 1.0}
    compared = movement._native.compare_numbers([{"a": 0.25}, name.row], [{"a": 0.25}])
    assert compared["a"] == (0.5, (0.25 + 2.0**0.5) / 2, 0.25, 2, 1)


def test_a_drift_of_the_log_names_the_feature_that_moved() -> None:
    """And one in which only the truth turned around names none."""
    log = make_log("logistic", Task.BINARY, 1_500)
    learner = new_learner("logistic", Task.BINARY)
    told = {s.moved for s in learner.absorb(log, range(1_500)).drifts if s.position > 750}
    assert told == {()}

    shifted = [
        msgspec.structs.replace(e, features=e.features | {"b": 5.0 + float(e.features["b"])})
        if i > 750
        else e
        for i, e in enumerate(log)
    ]
    first = next(s for s in absorb_whole(shifted) if s.position > 750)
    assert [m.feature for m in first.moved] == ["b"]
    assert first.since == pytest.approx(750, abs=40)


def absorb_whole(log: list[Any]) -> Any:
    """Fold a log in one batch, and in batches of 7, which must say the same."""
    whole, pieces = (new_learner("logistic", Task.BINARY) for _ in range(2))
    said = whole.absorb(log, range(len(log))).drifts
    piecewise = []
    for start in range(0, len(log), 7):
        batch = log[start : start + 7]
        piecewise += pieces.absorb(batch, range(start, start + len(batch))).drifts
        pieces = Learner.load(pieces.dump())
    assert said == piecewise
    return said
