"""What is fed and what is done to the servers: all kinds of both, in every run."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import islice

import pytest

from stream.decoding import EventDecoder, LabelDecoder
from stream.messages import InvalidMessage
from stream.settings import load_settings
from tests.chaos.feed import NEGATIVE_AFTER_S, TTL_S, Fed, payments
from tests.chaos.run import CONFIG
from tests.chaos.schedule import KILLS, Kind, deal

SETTINGS = load_settings(CONFIG)
NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def fed() -> list[Fed]:
    return [
        record for some in islice(payments(random.Random(3), NOW, 100.0), 4_000) for record in some
    ]


def reason_of(record: Fed) -> str:
    event, label = SETTINGS.event, SETTINGS.label
    decoder = (
        EventDecoder(event)
        if record.topic == "events"
        else LabelDecoder(label, SETTINGS.model.task, event)
    )
    try:
        decoder.decode(record.value, int(record.at * 1000))
    except InvalidMessage as error:
        return error.reason
    return ""


def test_what_must_be_refused_is_what_says_so(fed: list[Fed]) -> None:
    """The reason that a record carries is the one that it is refused for."""
    assert [record for record in fed if reason_of(record) != record.reason] == []
    assert len({record.reason for record in fed}) == 1 + 9


def test_labels_come_in_all_the_ways(fed: list[Fed]) -> None:
    """Early, late, after the silence, expired, repeated, corrected, alone."""
    times: dict[str, float] = {}
    delays: dict[str, list[float]] = {}
    for record in fed:
        body = json.loads(record.value or b"") if not record.reason else {}
        if record.topic == "events" and body:
            times[body["id"]] = body["t"]
    for record in fed:
        body = json.loads(record.value or b"") if not record.reason else {}
        if record.topic == "labels" and body:
            delays.setdefault(body["id"], []).append(body["t"] - times.get(body["id"], body["t"]))
    found = Counter(len(some) for some in delays.values())
    assert {1, 2, 4} <= found.keys()
    every = [delay for some in delays.values() for delay in some]
    for least, most in ((-5.0, -1.0), (1.0, 20.0), (NEGATIVE_AFTER_S, 100.0), (TTL_S, TTL_S + 61)):
        assert any(least < delay < most for delay in every), (least, most)
    assert len(delays) < 0.8 * len(times), "most payments are never labelled"
    assert any(event_id.startswith("nobody") for event_id in delays)


@pytest.mark.parametrize("seed", range(1, 4))
def test_ten_minutes_have_every_fault(seed: int) -> None:
    """And ten kills at least: three runs have to have thirty."""
    faults = list(deal(random.Random(seed), 600.0, 6.0))
    assert {fault.kind for fault in faults} == set(Kind)
    assert sum(fault.kind in KILLS for fault in faults) >= 10
    assert all(fault.lasts_s > 6.0 for fault in faults if fault.kind is Kind.PAUSE_WORKER)
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
