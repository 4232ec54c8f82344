"""Windows, risk and the state of entities, each against a slow and plain computation."""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from functools import partial
from typing import Any

import pytest

from models.compiled import AVAILABLE
from models.errors import CheckpointCorrupt
from models.features import (
    CalendarFeatures,
    EntityFold,
    EntitySpec,
    LabelFact,
    RiskSpec,
    Stat,
    WindowSpec,
    hash_of,
)

ALL_STATS = tuple(Stat)


@pytest.fixture(
    params=[
        pytest.param(
            True, id="compiled", marks=pytest.mark.skipif(not AVAILABLE, reason="not built")
        ),
        pytest.param(False, id="plain"),
    ]
)
def make_fold(request: pytest.FixtureRequest) -> Any:
    """Both ways of counting: one suite holds them to the same."""
    return partial(EntityFold, compiled=request.param)


def a_spec(**more: Any) -> EntitySpec:
    windows = WindowSpec(
        (100.0, 10.0), ALL_STATS, "amount", "shop", since_last=True, first_seen=True
    )
    before = WindowSpec((50.0,), (Stat.COUNT, Stat.MEAN, Stat.MAX), "amount", current=False)
    risk = RiskSpec((40.0, 20.0), delay=30.0)
    return EntitySpec("card", (windows, before), (risk,), **more)


def additive_spec(**more: Any) -> EntitySpec:
    """What an event that is simply the next one takes a shorter way for."""
    stats = (Stat.COUNT, Stat.MEAN, Stat.SUM, Stat.RATIO)
    windows = WindowSpec((10.0, 100.0), stats, "amount", since_last=True, first_seen=True)
    no_order = WindowSpec((100.0, 10.0, 50.0), (Stat.MEAN, Stat.COUNT), "amount")
    risk = RiskSpec((40.0, 20.0), delay=30.0)
    return EntitySpec("card", (windows, no_order), (risk,), **more)


class Plain:
    """The same by lists of all events ever, without trimming, bytes or order."""

    def __init__(self, spec: EntitySpec) -> None:
        self.spec = spec
        self.events: dict[str, list[tuple[float, int, float, str]]] = defaultdict(list)
        self.positive: dict[str, bool] = {}

    def observe(self, card: str, time: float, event_id: str, values: tuple[float, str]) -> Any:
        events = self.events[card]
        known = [e for e in events if e[0] <= time]  # Those that came, and happened, before.
        own = (time, len(events), *values, event_id)
        events.append(own)  # type: ignore[arg-type]
        row: list[Any] = []
        for spec in self.spec.windows:
            for window in spec.windows:
                inside = [e for e in known if e[0] > time - window] + [own] * spec.current
                row += [self._stat(stat, inside, values[0]) for stat in spec.stats]
            kept = [e[0] for e in known if e[0] > time - self.spec.horizon]
            row += [time - max(kept) if kept else None] * spec.since_last
            row += [not kept] * spec.first_seen
        for risk in self.spec.risks:
            for window in risk.windows:
                end = time - risk.delay
                inside = [e for e in events if end - window < e[0] <= end]
                n_positive = sum(self.positive.get(str(e[4]), False) for e in inside)  # type: ignore[misc]
                row += [len(inside), n_positive / len(inside) if inside else 0.0]
        return row

    @staticmethod
    def _stat(stat: Stat, inside: list[Any], own: float) -> Any:
        values = [event[2] for event in inside]
        mean = statistics.fmean(values) if values else None
        return {
            Stat.COUNT: len(values),
            Stat.SUM: sum(values),
            Stat.MEAN: mean,
            Stat.STD: statistics.stdev(values) if len(values) > 1 else 0.0,
            Stat.MIN: min(values, default=None),
            Stat.MAX: max(values, default=None),
            Stat.RATIO: own / mean if mean else None,
            Stat.DISTINCT: len({event[3] for event in inside}),
        }[stat]


def is_same(found: Any, wanted: Any) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return math.isclose(found, wanted, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("make", [a_spec, additive_spec])
@pytest.mark.parametrize("seed", range(3))
def test_all_features_equal_a_plain_computation(seed: int, make: Any, make_fold: Any) -> None:
    """Events in disorder within the lateness, repeated ones, labels late, corrected, repeated."""
    rng = random.Random(seed)
    spec = make(lateness=15.0)
    fold, plain = make_fold(spec, ["shop", "amount"]), Plain(spec)
    happened: list[tuple[str, str, float, float, str]] = []
    revisions: dict[str, int] = {}
    clock = 0.0
    for i in range(400):
        clock += rng.choice([0.0, 0.5, 2.0, 30.0 if rng.random() < 0.05 else 1.0])
        time = clock - rng.choice([0.0, 0.0, rng.uniform(0, 14.9)])
        card, shop = f"c{rng.randrange(4)}", f"s{rng.randrange(3)}"
        amount = round(rng.uniform(1, 100), 2)
        found = fold.observe(card, time, hash_of(f"e{i}"), (shop, amount))
        wanted = plain.observe(card, time, f"e{i}", (amount, shop))
        assert all(map(is_same, found, wanted)), (found, wanted, fold.names)
        assert len(found) == len(fold.names)
        happened.append((card, f"e{i}", time, amount, shop))
        if rng.random() < 0.3:  # The producer sends one of the last ones again.
            card, event_id, time, amount, shop = rng.choice(happened[-5:])
            fold.observe(card, time, hash_of(event_id), (shop, amount))
        if rng.random() < 0.4:
            card, event_id, time, *_ = rng.choice(happened[-60:])
            revision = revisions[event_id] = revisions.get(event_id, 0) + 1
            positive = not plain.positive.get(event_id, False)
            plain.positive[event_id] = positive
            fact = LabelFact(card, hash_of(event_id), time, revision, positive)
            fold.learn(fact)
            for old in (revision, max(1, revision - 1)):  # It comes again, and an older one late.
                fold.learn(fact._replace(revision=old, positive=positive == (old == revision)))
    assert fold.n_dropped == 0


def test_a_label_changes_nothing_before_it_arrives(make_fold: Any) -> None:
    """Whatever the order in which labels come: until one is there, features are as without it."""
    rng = random.Random(3)
    spec = EntitySpec("shop", (), (RiskSpec((60.0, 20.0), delay=10.0),))
    events = [(f"e{i}", i * 1.5, f"s{rng.randrange(3)}") for i in range(300)]
    labels = [(i, rng.random() < 0.5) for i in range(0, 300, 2)]

    def rows(arrivals: dict[int, list[tuple[int, bool]]]) -> list[list[Any]]:
        fold, found = make_fold(spec, []), []
        for i, (event_id, time, shop) in enumerate(events):
            for about, positive in arrivals.get(i, ()):
                labelled_id, labelled_time, labelled_shop = events[about]
                fact = hash_of(labelled_id), labelled_time, 1, positive
                fold.learn(LabelFact(labelled_shop, *fact))
            found.append(fold.observe(shop, time, hash_of(event_id), ()))
        return found

    def arrive(order: random.Random) -> dict[int, list[tuple[int, bool]]]:
        arrivals: dict[int, list[tuple[int, bool]]] = defaultdict(list)
        for about, positive in labels:
            arrivals[about + order.randrange(1, 60)].append((about, positive))
        return arrivals

    first, without = rows(arrive(random.Random(0))), rows({})
    assert first != without, "labels never mattered"
    for seed in range(1, 20):
        arrivals = arrive(random.Random(seed))
        shuffled = rows(arrivals)
        assert shuffled != first
        for until in (40, 150, 250):
            # Any other future of labels that arrive from here on, and none at all.
            past = {i: some for i, some in arrivals.items() if i < until}
            assert rows(past)[:until] == shuffled[:until]


def test_late_events_count_in_their_window_and_later_ones_are_told(make_fold: Any) -> None:
    """Within the lateness nothing is lost; beyond it an event is counted as late."""
    window = WindowSpec((100.0,), (Stat.COUNT, Stat.SUM), "amount")
    fold = make_fold(EntitySpec("card", (window,), lateness=20.0), ["amount"])
    for i, time in enumerate((0.0, 100.0, 110.0)):
        fold.observe("c", time, i, (1.0,))
    assert fold.observe("c", 95.0, 10, (5.0,)) == [2.0, 6.0], "0 and itself"
    assert fold.n_late == 0
    assert fold.observe("c", 112.0, 11, (0.0,)) == [4.0, 7.0], "the late one is in its window"
    assert fold.observe("c", 91.9, 12, (1.0,)) == [2.0, 2.0]
    assert fold.n_late == 1
    fold.observe("c", 1000.0, 13, (1.0,))
    assert fold.observe("c", 5.0, 14, (1.0,)) == [1.0, 1.0], "what it could see is gone"
    assert fold.observe("c", 1001.0, 15, (1.0,)) == [2.0, 2.0]


def test_an_entity_keeps_its_newest_events(make_fold: Any) -> None:
    """A bot's thousand payments an hour have a bound, which is told."""
    window = WindowSpec((1000.0,), (Stat.COUNT,))
    fold = make_fold(EntitySpec("card", (window,), lateness=500.0, events_max=3), [])
    assert [fold.observe("c", float(i), i, ()) for i in range(6)] == [
        [1.0], [2.0], [3.0], [3.0], [3.0], [3.0],
    ]  # fmt: skip
    assert fold.n_dropped == 3
    assert fold.observe("c", 1.5, 9, ()) == [1.0], "it is older than all that is kept"
    assert fold.observe("c", 6.0, 10, ()) == [3.0]


@pytest.mark.parametrize("make", [a_spec, additive_spec])
def test_histories_come_back_from_a_store_and_expire_with_their_generation(
    make: Any, make_fold: Any
) -> None:
    """Two folds, one of them without memory and fed from what it gave away, stay equal."""
    spec = make(lateness=15.0)
    rng = random.Random(5)
    whole = make_fold(spec, ["shop", "amount"])
    frugal = make_fold(spec, ["shop", "amount"], memory_max=0.0)
    stored: dict[str, tuple[int, bytes]] = {}
    n_loaded = n_expired = 0
    clock = 0.0
    for i in range(3000):
        clock += rng.choice([0.1, 1.0, 5.0])
        card = f"c{int(rng.paretovariate(0.5)) % 40}"
        for missing in frugal.missing([card]):
            if missing in stored:
                frugal.load(missing, stored[missing][1])
                n_loaded += 1
        event = card, clock, hash_of(f"e{i}"), (f"s{i % 3}", float(i))
        assert frugal.observe(*event) == whole.observe(*event)
        if i % 4 == 0:
            keyed = frugal.take_changes()
            floor = keyed.floor
            for change in keyed.changes:
                before = stored.get(change.key)
                if before is not None:
                    assert change.before == before[0]
                stored[change.key] = change.generation, change.content
            assert floor is not None
            for entity in [e for e, (generation, _) in stored.items() if generation < floor]:
                del stored[entity]
                n_expired += 1
            frugal.trim()
            assert len(frugal) == 0 and frugal.n_bytes == 0
    assert n_loaded > 500 and n_expired > 10
    whole.take_changes()
    whole.trim()
    assert len(whole) < 40, "who is over is forgotten"


def test_memory_is_bounded_by_those_unused_for_longest(make_fold: Any) -> None:
    """The budget holds; who was seen last stays."""
    window = WindowSpec((1e6,), (Stat.COUNT,))
    fold = make_fold(EntitySpec("card", (window,)), [], memory_max=10_000)
    for i in range(200):
        fold.observe(f"c{i}", float(i), i, ())
        fold.observe("regular", float(i), 1000 + i, ())
    fold.take_changes()
    fold.trim()
    assert 0 < fold.n_bytes <= 10_000
    assert fold.missing(["regular", "c199", "c0"]) == ["c0"]


def test_another_layout_begins_anew(make_fold: Any) -> None:
    """What other columns held can't be read as these."""
    count = WindowSpec((100.0,), (Stat.COUNT,))
    with_value = WindowSpec((100.0,), (Stat.COUNT, Stat.SUM), "amount")
    old = make_fold(EntitySpec("card", (count,)), ["amount"])
    old.observe("c", 1.0, 1, (5.0,))
    (change,) = old.take_changes().changes
    new = make_fold(EntitySpec("card", (with_value,)), ["amount"])
    new.load(change.key, change.content)
    assert new.observe("c", 2.0, 2, (7.0,)) == [1.0, 7.0]
    again = make_fold(EntitySpec("card", (count,)), ["amount"])
    again.load(change.key, change.content)
    assert again.observe("c", 2.0, 2, (7.0,)) == [2.0]


def test_a_negative_that_says_nothing_new_leaves_no_history(make_fold: Any) -> None:
    """Neither an empty one, which has no time, nor one of other columns in its place."""
    fold = make_fold(a_spec(), ["shop", "amount"])
    other = make_fold(additive_spec(), ["shop", "amount"])
    other.observe("c", 1.0, 1, ("s", 5.0))
    (change,) = other.take_changes().changes
    fold.load("c", change.content)
    for entity in ("c", "d"):
        fold.learn(LabelFact(entity, 1, 1.0, 2, positive=False))
    assert fold.take_changes().changes == [] and len(fold) == 1


def test_a_damaged_history_is_not_taken(make_fold: Any) -> None:
    """Half of what was stored is told before anything is made of it."""
    fold = make_fold(a_spec(), ["shop", "amount"])
    fold.observe("c", 1.0, 1, ("s", 5.0))
    (change,) = fold.take_changes().changes
    for damaged in (b"", change.content[:-8], change.content + b"x"):
        with pytest.raises(CheckpointCorrupt, match="'d' is damaged"):
            fold.load("d", damaged)
    assert len(fold) == 1


def test_sums_are_rounded_at_each_step(make_fold: Any) -> None:
    """As Python 3.11 adds: a newer one's `sum` compensates, and features would change with it."""
    window = WindowSpec((100.0,), (Stat.SUM,), "amount")
    fold = make_fold(EntitySpec("card", (window,)), ["amount"])
    amounts = (1e15, 0.1, -1e15, 0.1)
    rows = fold.observe_many("c" * 4, [1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4], [(a,) for a in amounts])
    assert rows[-1] == [0.1 + (((0.0 + 1e15) + 0.1) + -1e15)]
    assert rows[-1] != pytest.approx([0.2])


def test_an_event_too_late_to_be_kept_sees_only_what_is(make_fold: Any) -> None:
    """Though it is the newest of its entity; and it puts nothing in the place of what is stored."""
    window = WindowSpec((10.0,), (Stat.COUNT,), since_last=True)
    fold = make_fold(EntitySpec("card", (window,)), [])
    fold.observe("c", 100.0, 1, ())
    fold.observe("d", 105.0, 2, ())
    fold.observe("d", 112.0, 3, ())
    assert fold.observe("c", 108.0, 4, ()) == [1.0, None], "of 100 nothing is kept at 112"
    fold.observe("d", 200.0, 5, ())
    fold.take_changes()
    assert fold.observe("c", 150.0, 6, ()) == [1.0, None]
    assert fold.take_changes().changes == []


def test_who_names_no_entity_has_no_features(make_fold: Any) -> None:
    """The clock moves on, nothing is remembered."""
    fold = make_fold(a_spec(), ["shop", "amount"])
    assert fold.observe(None, 5.0, 1, ("s", 1.0)) == [None] * len(fold.names)
    assert (fold.time, len(fold)) == (5.0, 0)


def test_the_calendar_turns() -> None:
    """Nights over midnight, weekends, other clocks than UTC, and cycles that close."""
    sunday_23h = 1_522_623_600.0
    chosen = ("hour", "night", "weekday", "weekend", "hour_sin", "hour_cos", "weekday_cos")
    hour, night, weekday, weekend, *cycles = CalendarFeatures(chosen, night=(22.0, 6.0)).row(
        sunday_23h
    )
    assert (hour, night, weekday, weekend) == (23.0, True, 6.0, True)
    assert cycles == pytest.approx(
        [math.sin(math.tau * 23 / 24), math.cos(math.tau * 23 / 24), math.cos(math.tau * 167 / 168)]
    )
    there = CalendarFeatures(chosen[:4], utc_offset_s=7200.0)
    assert there.row(sunday_23h) == [1.0, True, 0.0, False]
    assert CalendarFeatures(("night",)).row(sunday_23h) == [False]
