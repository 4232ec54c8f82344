"""What any compiled estimator is held to: garbage, damage and second callers change nothing."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests import streams


def assert_garbage_is_refused(
    model: Any, garbage: tuple[Any, Any], error: type[Exception], good: list[tuple[Any, Any]]
) -> None:
    """Alone, or at the end of a batch of good ones with names of their own."""
    before = model.dump()
    x, y = garbage
    with pytest.raises(error):
        model.learn_one(x, y)
    assert model.dump() == before
    xs, ys = [list(column) for column in zip(*good, strict=True)]
    with pytest.raises(error):
        model.learn_dicts([*xs, x], [*ys, y])
    assert model.dump() == before
    model.learn_dicts(xs, ys)
    assert model.dump() != before


def assert_damage_is_refused(model: Any, others: list[bytes] | None = None) -> None:
    """Dumps cut short, changed in one byte, or `others`; the model stays as it was."""
    dump = model.dump()
    rng = random.Random(3)
    damaged = [dump[: rng.randrange(len(dump))] for _ in range(20)]
    for _ in range(100):
        at = rng.randrange(len(dump))
        damaged.append(dump[:at] + bytes([dump[at] ^ 1 << rng.randrange(8)]) + dump[at + 1 :])
    for wrong in damaged + (others or []):
        with pytest.raises(ValueError, match="dump"):
            type(model).load(wrong)
        with pytest.raises(ValueError, match="dump"):
            model._restore(wrong)
    assert model.dump() == dump


def assert_a_second_thread_is_told(model: Any, rows: list[streams.Row]) -> None:
    """It is refused while the first is at work without the interpreter's lock."""
    X = np.array([list(x.values()) for x, _ in rows], dtype=float)
    y = [truth for _, truth in rows]
    is_done = threading.Event()

    def learn() -> None:
        model.learn_many(X, y)
        is_done.set()

    thread = threading.Thread(target=learn)
    thread.start()
    refusals = 0
    while not is_done.is_set():
        try:
            model.predict_one({0: 1.0})
        except RuntimeError as error:
            refusals += "one thread at a time" in str(error)
    thread.join()
    assert refusals > 0


def learn_in_every_way(
    models: list[Any], rows: list[streams.Row], predict: Callable[[Any, Any], float]
) -> None:
    """Teach five models event by event, by dicts, by arrays, and twice with a test before.

    They are equal then, and what the tests said is what `predict` said of the first.
    """
    single, dicts, arrays, tested_arrays, tested_dicts = models
    xs, ys = [x for x, _ in rows], [y for _, y in rows]
    names, array = tuple(xs[0]), np.array([list(x.values()) for x in xs], dtype=float)
    said = []
    for x, y in rows:
        said.append(predict(single, x))
        single.learn_one(x, y)
    for at in range(0, len(rows), 100):
        part = slice(at, at + 100)
        dicts.learn_dicts(xs[part], ys[part])
        arrays.learn_many(array[part], np.array(ys[part]), names=names)
    assert tested_dicts.test_then_train_dicts(xs, ys) == said
    tested = tested_arrays.test_then_train_many(array, ys, names=names)
    # Of two classes, the second column is True.
    assert (tested if tested.ndim == 1 else tested[:, 1]).tolist() == said
    assert {model.dump() for model in models} == {single.dump()}
