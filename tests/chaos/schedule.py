"""Which fault comes when: dealt from shuffled decks, so that each kind comes in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What is done to the system."""

    KILL_WORKER = "worker killed"
    PAUSE_WORKER = "worker paused beyond its session"
    ADD_WORKER = "worker added"
    REMOVE_WORKER = "worker removed"
    KILL_BROKER = "broker killed"
    RESTART_BROKER = "broker restarted"
    KILL_REDIS = "Redis killed"
    FREEZE_REDIS = "Redis frozen"


KILLS = (Kind.KILL_WORKER, Kind.KILL_BROKER, Kind.KILL_REDIS)
DECK = (
    *[Kind.KILL_WORKER] * 4,
    *[Kind.PAUSE_WORKER] * 2,
    Kind.ADD_WORKER,
    Kind.REMOVE_WORKER,
    Kind.KILL_BROKER,
    Kind.RESTART_BROKER,
    *[Kind.KILL_REDIS] * 2,
    Kind.FREEZE_REDIS,
)
EVERY_S = (8.0, 14.0)
FIRST_S = 8.0


class Fault(NamedTuple):
    """A fault, when it comes, and how long it lasts where that is ours to say."""

    at_s: float
    kind: Kind
    lasts_s: float


def deal(rng: random.Random, seconds: float, session_s: float) -> Iterator[Fault]:
    """Give the faults of a run, in the order of their times."""
    at, deck = FIRST_S, list[Kind]()
    while at < seconds:
        if not deck:
            deck = rng.sample(DECK, len(DECK))
        kind = deck.pop()
        lasts = {
            Kind.PAUSE_WORKER: session_s + rng.uniform(2, 8),
            Kind.KILL_WORKER: rng.uniform(0, 3),
            Kind.KILL_REDIS: rng.uniform(0, 4),
            Kind.FREEZE_REDIS: rng.uniform(2, 9),
        }.get(kind, 0.0)
        yield Fault(at, kind, lasts)
        at += rng.uniform(*EVERY_S)
