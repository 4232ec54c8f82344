"""Garbage for what is no estimator: windows over the past, and how far features moved."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Mapping
from typing import Any, ClassVar

from benchmarks.garbage import GARBAGE, WRONG_NAMES, Calls
from models.features.history import HEAD, is_whole, newest_of

NUMBER_MAX = 1e15
ENTITIES = ["a", "b", "c", "ü", "d" * 40]
FORGET_EVERY = 5_000


class Windows(Calls):
    """Batches of events over histories, some of which are damaged."""

    KINDS: ClassVar[Mapping[str, float]] = {
        "observe": 80.0,
        "build": 5.0,
        "damage": 10.0,
        "read": 5.0,
    }
    REFUSALS = (TypeError, ValueError, IndexError, OverflowError)

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, seed)
        self._histories: dict[str, bytes] = {}
        self._clock = 0.0
        self._kernel, self._width = self._made(good=True)

    def _state(self, i: int) -> Any:
        if i % FORGET_EVERY == FORGET_EVERY - 1:
            self._histories, self._clock = {}, 0.0
        return dict(self._histories), self._clock

    def _build(self) -> None:
        # Histories of another layout are those of entities without a past.
        self._kernel, self._width = self._made(good=self._rng.random() < 0.3)

    def _made(self, *, good: bool) -> tuple[Any, int]:
        from models.compiled._native import WindowKernel

        rng = self._rng
        n_values, n_distincts = rng.randrange(1, 4), rng.randrange(1, 3)
        lengths = [5.0, 20.0, 100.0, 1e4]
        windows: list[Any] = [
            (
                rng.sample(lengths, rng.randrange(1, 4)),
                rng.sample(range(8), rng.randrange(8)),
                rng.randrange(n_values),
                n_values + rng.randrange(n_distincts),
                *(rng.random() < 0.5 for _ in range(3)),
            )
            for _ in range(rng.randrange(1, 4))
        ]
        risks: list[Any] = [(rng.sample(lengths, 2), rng.choice([0.0, 7.0]))] * rng.randrange(2)
        arguments: list[Any] = [
            [rng.randrange(3) for _ in range(n_values)],
            [rng.randrange(4) for _ in range(n_distincts)],
            windows,
            risks,
            rng.choice([50.0, 1e4]),
            rng.choice([0.0, 20.0]),
            rng.choice([1, 2, 5, 300, 65_535]),
            rng.randrange(3),
        ]
        if not good:
            what = rng.choice([*GARBAGE, -1, 2**70, [-1], [9], [(1.0, 2.0)], []])
            if rng.random() < 0.5:
                arguments[rng.randrange(8)] = what
            else:
                changed = list(windows[0])
                changed[rng.randrange(7)] = rng.choice([what, -7, 8, [7], [8], ["x"]])
                windows[0] = tuple(changed)
        kernel = WindowKernel(*arguments)
        if arguments[2] is not windows or arguments[3] is not risks:
            return kernel, -1
        width = sum(len(w[0]) * len(w[1]) + bool(w[5]) + bool(w[6]) for w in windows)
        return kernel, width + sum(2 * len(risk[0]) for risk in risks)

    def _observe(self) -> None:
        rng = self._rng
        n = rng.choice([0, 1, 1, 2, 8, 30])
        entities: list[Any] = [rng.choice([*ENTITIES, None]) for _ in range(n)]
        times: list[Any] = [self._clock + rng.uniform(-30.0, 10.0) for _ in range(n)]
        hashes: list[Any] = [rng.choice([rng.randrange(9), rng.getrandbits(64)]) for _ in range(n)]
        rows: list[Any] = [
            tuple(rng.choice([rng.gauss(0.0, 1e3), 3, True, -0.0, 1e15]) for _ in range(4))
            for _ in range(n)
        ]
        columns = [entities, times, hashes, rows]
        if n and rng.random() < 0.2:
            at = rng.randrange(n)
            which = rng.randrange(4)
            columns[which][at] = rng.choice(
                [*GARBAGE, -1, 2**64, (1.0,), (1.0, "x", 1.0, 2.0), (1.0, 2.0, math.nan, "\udc80")]
            )
        elif rng.random() < 0.02:
            columns[rng.randrange(4)] = rng.choice([None, [1.0], 3, "abc", {}])
        clock: Any = rng.choice(GARBAGE) if rng.random() < 0.02 else self._clock
        histories: Any = rng.choice(GARBAGE) if rng.random() < 0.02 else self._histories
        before = dict(self._histories)
        found, changed, now, _, _ = self._kernel.observe(histories, clock, *columns)
        assert self._histories == before
        assert len(found) == len(columns[0])
        assert self._width < 0 or all(len(row) == self._width for row in found)
        assert all(is_whole(data) for data in changed.values())
        self._histories.update(changed)
        if math.isfinite(now):
            self._clock = min(now, self._clock + 100.0)

    def _damage(self) -> None:
        # Of the right size, so that it is read: what is in it may be anything.
        rng = self._rng
        n_columns, n_events, n_facts = rng.randrange(6), rng.randrange(40), rng.randrange(4)
        n_words = (2 + n_columns) * n_events + 3 * n_facts
        numbers = [
            struct.pack("<d", rng.choice([rng.gauss(0.0, 50.0), *GARBAGE[:5]]))
            if rng.random() < 0.9
            else rng.randbytes(8)
            for _ in range(n_words)
        ]
        data = HEAD.pack(n_events, n_facts, n_columns, rng.randrange(3)) + b"".join(numbers)
        if rng.random() < 0.1:
            data = rng.choice([data[:-1], data + b"\0", b"", HEAD.pack(65_535, 65_535, 65_535, 0)])
        self._histories[rng.choice(ENTITIES)] = data
        if not is_whole(data):
            try:
                self._kernel.observe(self._histories, 0.0, ENTITIES, [0.0] * 5, range(5), [()] * 5)
            except self.REFUSALS:
                self.counts["damaged history refused"] += 1
            else:
                raise AssertionError("a damaged history was read")
            self._histories = {k: v for k, v in self._histories.items() if is_whole(v)}

    def _read(self) -> None:
        from models.compiled._native import hash_of, name_values
        from models.compiled._native import newest_of as native_newest_of

        rng = self._rng
        for data in self._histories.values():
            said, expected = native_newest_of(data), newest_of(data)
            # By their bits: what is damaged may be NaN.
            assert struct.pack("<d", said) == struct.pack("<d", expected), (said, expected)
        names = ("a", "b", "c")
        values = rng.choice([(1, 2, 3), [1, None, "x"], rng.choice(GARBAGE), (1,)])
        blank: Any = rng.choice([dict.fromkeys(names), {}, None])
        given = list(values) if isinstance(values, list | tuple) else None
        named = name_values(names, blank, values)
        if given is not None:
            assert named == {k: v for k, v in zip(names, given, strict=True) if v is not None}, (
                named
            )
        assert 0 <= hash_of(rng.choice([*ENTITIES, "\udc80"])) < 2**64


class Movement(Calls):
    """Rows before and rows after, whose features are compared."""

    KINDS: ClassVar[Mapping[str, float]] = {"compare": 1.0}

    def _state(self, i: int) -> Any:
        return None

    def _compare(self) -> None:
        from models.compiled._native import compare_numbers

        sides: list[Any] = [[self._row() for _ in range(self._rng.randrange(12))] for _ in "ab"]
        if self._rng.random() < 0.02:
            sides[self._rng.randrange(2)] = self._rng.choice(
                [None, 3, "text", {"a": 1.0}, iter([{}])]
            )
        found = compare_numbers(*sides)
        before, after = [list(side) for side in sides]
        assert set(found) == set().union(*before, *after)
        for name, numbers in found.items():
            values = [[row[name] for row in side if name in row] for side in (before, after)]
            good = all(_is_number(value) for value in itertools.chain(*values))
            assert (numbers is not None) == good, (name, numbers, values)
            if numbers is not None:
                assert numbers == _compared(*values), (name, numbers, values)

    def _row(self) -> Any:
        rng, roll = self._rng, self._rng.random()
        row: dict[Any, Any] = {name: rng.gauss(0.0, 1.0) for name in "ab"}
        row["n"] = rng.randrange(5)
        if roll < 0.02:
            row[rng.choice(["a", "new", 3])] = rng.choice([*GARBAGE, True, -(10**400)])
        elif roll < 0.04:
            row[rng.choice(WRONG_NAMES)] = 1.0
        elif roll < 0.1:
            del row[rng.choice(list(row))]
        elif roll < 0.2:
            row = dict(reversed(row.items()))
        elif roll < 0.205:
            return rng.choice([None, [], "text", 1])
        return row


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -NUMBER_MAX <= value <= NUMBER_MAX


def _compared(before: list[Any], after: list[Any]) -> tuple[float, float, float, int, int]:
    a, b = (sorted(map(float, side)) for side in (before, after))
    apart = 0.0
    if a and b:
        apart = max(
            abs(sum(x <= at for x in a) / len(a) - sum(x <= at for x in b) / len(b))
            for at in [*a, *b]
        )
    return apart, _mean(a), _mean(b), len(a), len(b)


def _mean(values: list[float]) -> float:
    # One after the other: `sum` adds more exactly in later Pythons.
    total = 0.0
    for value in values:
        total += value
    return total / len(values) if values else 0.0


OTHERS: Mapping[str, type[Calls]] = {"windows": Windows, "movement": Movement}
