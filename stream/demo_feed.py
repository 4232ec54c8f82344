"""What the demo plays: a data set's events and labels, and the producer that plays them.

The labels keep their real delay *in event time*; the player compresses event time, so that weeks
pass in a minute and a label that takes 7 days comes 5 seconds after its event.

Why pacing: a laptop that is busy with something else must not end up with a minute of backlog,
so the player stands still while too many events are unanswered. Nothing is left out.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.messages import encode_json
from stream.simulate import DAY_S, GRID, LABEL_DELAY_DAYS, START, Rules, datetimes, simulate

if TYPE_CHECKING:
    from stream.kafka_log import Publisher

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

CARDS_EVENTS_PER_S = 1_600
CARDS_PAYMENTS_PER_CUSTOMER = 117.0
"""In 60 days, card testing included: 2 a day, less those whose time falls outside of their day."""
CARDS_CUSTOMERS_MIN = 60
TERMINALS_PER_CUSTOMER = 2
TERMINALS_IN_REACH = 10

EVENT_FIELDS = ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT")
"""What is known when a payment is made; TX_FRAUD and TX_FRAUD_SCENARIO are not."""

TICK_S = 0.02
UNANSWERED_MAX = 4_000


class FeedUnavailable(Exception):
    """The data can't be had; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Records of one topic in time order, ready to send."""

    time_s: Floats
    keys: list[bytes]
    values: list[bytes]

    def __len__(self) -> int:
        return len(self.values)


def in_time_order(records: Iterable[tuple[float, bytes, bytes]]) -> Lane:
    """Make a lane of (time, key, value) in any order; equal times keep theirs.

    Examples
    --------
    >>> in_time_order([(2.0, b"k", b"late"), (1.0, b"k", b"early")]).values
    [b'early', b'late']
    """
    ordered = sorted(records, key=lambda record: record[0])
    return Lane(
        np.array([time_s for time_s, _, _ in ordered], np.float64),
        [key for _, key, _ in ordered],
        [value for _, _, value in ordered],
    )


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of event time over which live and frozen are compared."""

    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Feed:
    """A data set, ready to play. `change_s` is when the pattern changes, if it does."""

    title: str
    unit: str
    note: str
    events: Lane
    labels: Lane
    event_ids: list[str]
    phases: Sequence[Phase]
    change_s: float | None = None

    @property
    def begin_s(self) -> float:
        """Event time at which the feed begins."""
        return float(self.events.time_s[0])

    @property
    def end_s(self) -> float:
        """Event time of the last record, which is a label."""
        return float(max(self.events.time_s[-1], self.labels.time_s[-1]))


def cards(seconds: float, seed: int) -> Feed:
    """Simulate 60 days of card payments whose fraud changes on day 30.

    The population follows the playing time. Fraud is denser than in the Handbook (about 6 %
    instead of 0.8 %), because a minute must show what otherwise takes months.
    """
    n = round(CARDS_EVENTS_PER_S * seconds / CARDS_PAYMENTS_PER_CUSTOMER)
    n_customers = max(CARDS_CUSTOMERS_MIN, n)
    n_terminals = TERMINALS_PER_CUSTOMER * n_customers
    rules = Rules(
        days=60,
        n_customers=n_customers,
        n_terminals=n_terminals,
        # A sparse map needs longer ways, or many customers would have no terminal in reach.
        radius=GRID * math.sqrt(TERMINALS_IN_REACH / (math.pi * n_terminals)),
        # The Handbook's daily numbers are for 10,000 terminals; a small town has as many thieves.
        terminals_compromised_daily=max(1, n_customers // 350),
        customers_compromised_daily=max(1, n_customers // 350),
        change_day=30,
        card_testing_share=0.05,
    )
    return feed_of_cards(rules, seed)


def feed_of_cards(rules: Rules, seed: int) -> Feed:
    """Turn simulated payments into events and labels, with the phases to compare."""
    payments = simulate(rules, seed)
    origin_s = float(np.datetime64(START, "s").astype(np.int64))
    event_s = payments.time_s.astype(np.float64) + origin_s
    delay_s = LABEL_DELAY_DAYS * DAY_S
    # A row at a time: hundreds of thousands of dicts at once keep the garbage collector busy.
    events = [encode_json({name: row[name] for name in EVENT_FIELDS}) for row in payments.rows()]
    label_dates = datetimes(payments.time_s + delay_s)
    frauds = payments.fraud.astype(int).tolist()
    labels = [
        encode_json({"TRANSACTION_ID": i, "TX_FRAUD": fraud, "LABEL_DATETIME": date})
        for i, (fraud, date) in enumerate(zip(frauds, label_dates, strict=True))
    ]
    ids = [str(i) for i in range(len(payments))]
    id_keys = [event_id.encode() for event_id in ids]
    return Feed(
        title="simulated card payments (Fraud Detection Handbook)",
        unit="payments",
        note=_note_of_cards(rules),
        events=Lane(event_s, [str(c).encode() for c in payments.customer.tolist()], events),
        labels=Lane(event_s + delay_s, id_keys, labels),
        event_ids=ids,
        phases=_phases_of_cards(rules, origin_s),
        change_s=None if rules.change_day is None else origin_s + rules.change_day * DAY_S,
    )


def _note_of_cards(rules: Rules) -> str:
    late = f"labels come {LABEL_DELAY_DAYS} days late"
    if rules.change_day is None:
        return late
    return f"{late}; from day {rules.change_day}, thieves test cards with tiny sums"


def _phases_of_cards(rules: Rules, origin_s: float) -> list[Phase]:
    def at(day: int) -> float:
        return origin_s + day * DAY_S

    end = rules.days
    change = end if rules.change_day is None else rules.change_day
    labelled = change + LABEL_DELAY_DAYS
    phases = [Phase("before the change", at(LABEL_DELAY_DAYS), at(change))]
    if change < end:
        phases.append(Phase("changed, no labels yet", at(change), at(labelled)))
    if labelled < end:
        phases.append(Phase("changed, labels arrive", at(labelled), at(end)))
    return phases


@dataclass(slots=True)
class Progress:
    """How far the player is. Written by its thread only; plain numbers, so reading is safe."""

    n_events: int = 0
    n_labels: int = 0
    event_time_s: float = 0.0
    share: float = 0.0
    sent_ms: Integers = field(default_factory=lambda: np.zeros(0, np.int64))


class Player(threading.Thread):
    """Play a feed into two topics in `seconds`, more slowly where the worker can't keep up.

    Parameters
    ----------
    publisher
        A `stream.kafka_log.Publisher`, or anything with its `publish`, `serve` and `flush`.
    n_answered
        Tells how many events have been scored, for the pacing.
    """

    def __init__(
        self,
        feed: Feed,
        publisher: Publisher,
        topics: tuple[str, str],
        seconds: float,
        n_answered: Callable[[], int],
    ) -> None:
        super().__init__(name="demo-player", daemon=True)
        self.progress = Progress(sent_ms=np.zeros(len(feed.events), np.int64))
        self.error: BaseException | None = None
        self._feed = feed
        self._publisher = publisher
        self._topics = topics
        self._speed = (feed.end_s - feed.begin_s) / seconds
        self._n_answered = n_answered
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Stop playing; what was sent is flushed."""
        self._stopping.set()

    def run(self) -> None:
        """Play until the end of the feed, or until stopped."""
        try:
            self._play()
            self._publisher.flush()
        except BaseException as error:  # the main thread reports it
            self.error = error

    def _play(self) -> None:
        feed, progress = self._feed, self.progress
        now_s, before = feed.begin_s, time.monotonic()
        while not self._stopping.is_set() and now_s < feed.end_s:
            time.sleep(TICK_S)
            tick = time.monotonic()
            if progress.n_events - self._n_answered() < UNANSWERED_MAX:
                now_s = min(feed.end_s, now_s + (tick - before) * self._speed)
            before = tick
            self._send_until(now_s)
            progress.event_time_s = now_s
            progress.share = (now_s - feed.begin_s) / (feed.end_s - feed.begin_s)

    def _send_until(self, now_s: float) -> None:
        feed, progress = self._feed, self.progress
        events_topic, labels_topic = self._topics
        sent_ms = time.time_ns() // 1_000_000
        upto = int(np.searchsorted(feed.events.time_s, now_s, side="right"))
        progress.sent_ms[progress.n_events : upto] = sent_ms
        self._send(events_topic, feed.events, progress.n_events, upto, sent_ms)
        progress.n_events = upto
        upto = int(np.searchsorted(feed.labels.time_s, now_s, side="right"))
        self._send(labels_topic, feed.labels, progress.n_labels, upto, sent_ms)
        progress.n_labels = upto
        self._publisher.serve()

    def _send(self, topic: str, lane: Lane, begin: int, end: int, sent_ms: int) -> None:
        publish, keys, values = self._publisher.publish, lane.keys, lane.values
        for i in range(begin, end):
            publish(topic, keys[i], values[i], sent_ms)
