"""Real flights become events without a leak, and labels at their landings."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from models.pipelines import names
from models.types import Task
from stream import flights
from stream.decoding import EventDecoder, LabelDecoder
from stream.demo_feed import Feed, FeedUnavailable
from stream.settings import load_settings

needs_flights = pytest.mark.skipif(
    importlib.util.find_spec(flights.PACKAGE) is None, reason="needs the extra `flights`"
)


@pytest.fixture(scope="module")
def feed() -> Feed:
    return flights.feed_of_flights(flights.read_flights(3_000))


@needs_flights
def test_flights_come_in_the_order_of_the_timetable(feed: Feed) -> None:
    assert len(feed.events) == 3_000
    assert len(set(feed.event_ids)) == 3_000
    assert (np.diff(feed.events.time_s) >= 0).all()
    assert (np.diff(feed.labels.time_s) >= 0).all()
    first = json.loads(feed.events.values[0])
    assert first["scheduled"] == "2013-01-01 05:15:00"
    assert first["flight_id"] == "0101-UA1545-EWR-5:15"


@needs_flights
def test_an_event_holds_only_what_the_timetable_knows(feed: Feed) -> None:
    known = {
        "flight_id", "scheduled", "distance", "hour", "weekday", "carrier", "origin", "destination",
    }  # fmt: skip
    assert set(json.loads(feed.events.values[0])) == known


@needs_flights
def test_labels_come_when_the_flight_lands_if_it_does(feed: Feed) -> None:
    departed = dict(zip(feed.event_ids, feed.events.time_s, strict=True))
    hours = []
    late = []
    for time_s, value in zip(feed.labels.time_s, feed.labels.values, strict=True):
        label = json.loads(value)
        hours.append((time_s - departed[label["flight_id"]]) / 3600)
        late.append(label["late"])
    # Some leave before their time, and none lands before it left.
    assert min(hours) > 0.2
    assert np.median(hours) == pytest.approx(2.5, abs=1.0)
    assert np.mean(late) == pytest.approx(0.24, abs=0.05)
    assert 0 < len(feed.events) - len(feed.labels) < 100


@needs_flights
def test_the_preset_accepts_every_flight(feed: Feed) -> None:
    config = load_settings("flights")
    event = EventDecoder(config.event).decode
    label = LabelDecoder(config.label, config.model.task).decode
    for event_id, time_s, value in zip(
        feed.event_ids, feed.events.time_s, feed.events.values, strict=True
    ):
        decoded = event(value)
        assert (decoded.event_id, decoded.event_time) == (event_id, time_s)
    for time_s, value in zip(feed.labels.time_s, feed.labels.values, strict=True):
        assert label(value).label_time == time_s


def test_the_presets_pipeline_exists() -> None:
    assert load_settings("flights").model.pipeline in names(Task.BINARY)


def test_a_missing_package_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "PACKAGE", "no_such_package_of_flights")
    with pytest.raises(FeedUnavailable, match="pip install"):
        flights.flights(10.0, 1)
