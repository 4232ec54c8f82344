"""The compiled fold is the plain one, to the last bit, whatever comes in whatever order."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.features import EntityFold, EntitySpec, LabelFact, RiskSpec, Stat, WindowSpec
from models.features.fold import plain_hash_of
from models.features.history import newest_of

native = pytest.importorskip("models.compiled._native", reason="the extension is not built")

FIELDS = ["shop", "amount", "age"]
_NUMBERS = st.floats(-1e15, 1e15) | st.sampled_from([0.0, -0.0, 0.1, 1e-300, 3, True])
_WINDOWS = st.lists(st.sampled_from([5.0, 10.0, 50.0, 100.0]), min_size=1, max_size=3).map(tuple)
_STATS = st.lists(st.sampled_from(list(Stat)), max_size=8, unique=True).map(tuple)


def bits(row: list[Any]) -> list[Any]:
    """Make -0.0 and 0.0, 1.0 and True differ."""
    return [struct.pack("<d", v) if isinstance(v, float) else (type(v), v) for v in row]


@st.composite
def specs(draw: st.DrawFn) -> EntitySpec:
    window = st.builds(
        WindowSpec,
        _WINDOWS,
        _STATS | st.just((Stat.COUNT, Stat.MEAN, Stat.SUM, Stat.RATIO)),
        value=st.sampled_from(["amount", "age"]),
        distinct=st.just("shop"),
        current=st.booleans(),
        since_last=st.booleans(),
        first_seen=st.booleans(),
    )
    risk = st.builds(RiskSpec, _WINDOWS, delay=st.sampled_from([0.0, 20.0]))
    return EntitySpec(
        "card",
        tuple(draw(st.lists(window, min_size=1, max_size=2))),
        tuple(draw(st.lists(risk, max_size=1))),
        lateness=draw(st.sampled_from([0.0, 20.0])),
        events_max=draw(st.sampled_from([1, 2, 5, 4096])),
    )


# Times repeat, and go back further than any window; ids come again, with other times and values.
_EVENT = st.tuples(
    st.sampled_from(["a", "b", "ü", None]),
    st.floats(-30.0, 12.0) | st.sampled_from([0.0, 1.0, -200.0, 300.0]),
    st.integers(0, 15) | st.integers(0, 2**64 - 1),
    st.tuples(st.sampled_from(["x", "y", None]), _NUMBERS, _NUMBERS),
)
_FACT = st.builds(
    LabelFact,
    st.sampled_from(["a", "b", "ü"]),
    st.integers(0, 15),
    st.floats(-30.0, 12.0),
    st.integers(1, 3),
    st.booleans(),
)
_STEP = st.lists(_EVENT, max_size=12) | _FACT | st.sampled_from(["store", "forget"])


class Pair:
    """Both folds, which lose what they have stored, and load it again."""

    def __init__(self, spec: EntitySpec, memory_max: float) -> None:
        limits: dict[str, Any] = {"memory_max": memory_max, "complete": False}
        self.folds = [EntityFold(spec, FIELDS, compiled=c, **limits) for c in (True, False)]
        self.stored: dict[str, bytes] = {}
        self.clock = 0.0

    def step(self, step: Any) -> None:
        if isinstance(step, LabelFact):
            self._load([step.entity])
            for fold in self.folds:
                fold.learn(step._replace(event_time=self.clock + step.event_time))
        elif isinstance(step, list):
            self._observe(step)
        else:
            compiled, plain = [fold.take_changes() for fold in self.folds]
            assert compiled.floor == plain.floor
            assert sorted(map(repr, compiled.changes)) == sorted(map(repr, plain.changes))
            self.stored |= {change.key: change.content for change in plain.changes}
            if step == "forget":
                for fold in self.folds:
                    fold.trim()
        self._compare()

    def _observe(self, events: list[Any]) -> None:
        entities, offs, hashes, rows = [list(c) for c in zip(*events, strict=True)] or [[]] * 4
        self._load(entities)
        times = [self.clock + off for off in offs]
        self.clock = max([self.clock, *times])
        compiled, plain = [f.observe_many(entities, times, hashes, rows) for f in self.folds]
        assert list(map(bits, compiled)) == list(map(bits, plain))

    def _load(self, entities: list[str | None]) -> None:
        missing, same = [fold.missing(entities) for fold in self.folds]
        assert missing == same
        for entity in missing:
            for fold in self.folds:
                if entity in self.stored:
                    fold.load(entity, self.stored[entity])

    def _compare(self) -> None:
        compiled, plain = self.folds
        for name in ("time", "n_bytes", "n_late", "n_dropped"):
            assert getattr(compiled, name) == getattr(plain, name), name
        # As bytes, and in the order in which they will be let go.
        assert list(compiled._histories.items()) == list(plain._histories.items())


_HERE = WindowSpec((10.0,), (Stat.COUNT, Stat.SUM), "amount", since_last=True)


@settings(max_examples=400, deadline=None)
@given(specs(), st.sampled_from([0.0, 900.0, 1e9]), st.lists(_STEP, max_size=12))
@example(  # Later than all that matters, and yet the newest of its entity.
    EntitySpec("card", (_HERE,)),
    1e9,
    [
        [("a", 0.0, 1, ("x", 1.0, 1.0)), ("b", 300.0, 2, ("x", 1.0, 1.0))],
        [("a", -250.0, 3, ("x", 2.0, 1.0)), ("a", -249.0, 4, ("x", 2.0, 1.0))],
    ],
)
def test_both_folds_agree(spec: EntitySpec, memory_max: float, steps: list[Any]) -> None:
    """Features, histories, their order and the counts, with events late, repeated and let go."""
    pair = Pair(spec, memory_max)
    for step in [*steps, "store", "forget"]:
        pair.step(step)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("time", "row", "error"),
    [
        (3.0, ("x", None, 1.0), TypeError),
        (3.0, ("x", "12", 1.0), TypeError),
        (3.0, ("x", float("nan"), 1.0), ValueError),
        (3.0, ("x", -1.1e15, 1.0), ValueError),
        (float("inf"), ("x", 1.0, 1.0), ValueError),
        (3.0, ("x",), IndexError),
    ],
)
def test_a_batch_with_a_bad_event_changes_nothing(
    compiled: bool, time: float, row: Any, error: type[Exception]
) -> None:
    """Not the clock, not the histories of the events before it, not what is to be stored."""
    window = WindowSpec((10.0,), (Stat.STD,), "amount", "shop")
    fold = EntityFold(EntitySpec("card", (window,)), FIELDS, compiled=compiled)
    fold.observe("a", 1.0, 1, ("x", 1.0, 1.0))
    fold.take_changes()
    before = dict(fold._histories), fold.time, fold.n_bytes, fold.n_late, fold.n_dropped
    good = ("x", 1.0, 1.0)
    with pytest.raises(error):
        fold.observe_many(["a", "b", "a"], [2.0, 0.0, time], [2, 3, 4], [good, good, row])
    assert before == (dict(fold._histories), fold.time, fold.n_bytes, fold.n_late, fold.n_dropped)
    assert not fold.take_changes().changes


@given(st.text(max_size=300))
def test_hashes_are_the_same(text: str) -> None:
    """Of texts of one block, of more, and of just as much as fits."""
    for some in (text, text * 5, "x" * 128, "x" * 129, "x" * 256):
        try:
            wanted = plain_hash_of(some)
        except UnicodeEncodeError:
            with pytest.raises(UnicodeEncodeError):
                native.hash_of(some)
        else:
            assert native.hash_of(some) == wanted


@given(st.lists(st.floats(-1e15, 1e15) | st.sampled_from([1e15, 1.0, 1e-5, -1e15]), max_size=40))
def test_sums_are_rounded_in_the_same_way(amounts: list[float]) -> None:
    """Where rounding shows most: large numbers that cancel."""
    windows = [WindowSpec((1e6,), (Stat.SUM, Stat.STD), "amount")]
    windows.append(WindowSpec((10.0, 1e6), (Stat.SUM, Stat.MEAN), "amount"))
    spec = EntitySpec("card", tuple(windows))
    batch = (
        ["a"] * len(amounts),
        [float(i) for i in range(len(amounts))],
        list(range(len(amounts))),
        [("x", amount, 0.0) for amount in amounts],
    )
    compiled, plain = [
        EntityFold(spec, FIELDS, compiled=c).observe_many(*batch) for c in (True, False)
    ]
    assert list(map(bits, compiled)) == list(map(bits, plain))


def test_the_kernel_reads_no_further_than_a_history_goes() -> None:
    """A head that promises more than there is, or half a head."""
    spec = EntitySpec("card", (WindowSpec((10.0,), (Stat.COUNT,)),))
    fold = EntityFold(spec, [])
    fold.observe("a", 1.0, 1, ())
    (change,) = fold.take_changes().changes
    for damaged in (b"", change.content[:4], change.content[:-1], change.content + bytes(8)):
        fold._histories["a"] = damaged
        with pytest.raises(ValueError, match="damaged"):
            fold.observe_many(["b", "a"], [2.0, 3.0], [2, 3], [(), ()])
        with pytest.raises(ValueError, match="damaged"):
            native.newest_of(damaged)
        assert fold.time == 1.0 and len(fold) == 1
    assert native.newest_of(change.content) == newest_of(change.content) == 1.0


@pytest.mark.parametrize(("place", "part"), [(2, 5), (2, [(1.0,), (0,)]), (3, None)])
def test_a_kernel_is_made_of_tuples(place: int, part: Any) -> None:
    """Anything else is refused by a sentence."""
    arguments: list[Any] = [
        [1],
        [0],
        [((5.0,), (0,), 0, 1, True, False, False)],
        [],
        9.0,
        0.0,
        5,
        0,
    ]
    native.WindowKernel(*arguments)
    arguments[place] = [part]
    with pytest.raises(TypeError, match="is no tuple"):
        native.WindowKernel(*arguments)
