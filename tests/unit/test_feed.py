"""Events and late labels in the order in which producers would publish them."""

import io
import json

import pytest

from stream.feed import Feed
from stream.rows import read_csv
from stream.schedule import label_schedule
from stream.settings import Settings

EVENT = {"id": "tx", "time": "at", "entity": "card", "features": {"amount": {"min": 0}}}
TEXT = """\
tx,at,card,amount,fraud
1,2018-04-01 00:00:00,c1,5,0
2,2018-04-02 00:00:00,c2,-1,1
3,2018-04-03 00:00:00,c1,6,
"""


def feed_of(settings: Settings, delay_s: float = 0.0, **options) -> tuple[Feed, list]:
    """Run the text above through a feed."""
    feed = Feed(settings, label_schedule(delay_s, None), lambda: 12.5, **options)
    return feed, list(feed.records(read_csv(io.BytesIO(TEXT.encode()), settings)))


@pytest.fixture
def settings() -> Settings:
    """Labels with a time of their own."""
    return Settings(event=EVENT, label={"id": "tx", "value": "fraud", "time": "known"})


def test_labels_follow_their_delay(settings: Settings) -> None:
    """A day late; a refused event tells no time, so the label waits for the next good one."""
    feed, records = feed_of(settings, 86_400.0)

    kinds = [(r.kind, json.loads(r.value)["tx"]) for r in records]
    assert kinds == [("event", "1"), ("event", "2"), ("label", "1"), ("label", "2"), ("event", "3")]
    assert (feed.n_events, feed.n_labels) == (3, 2)


def test_a_label_says_when_it_was_known(settings: Settings) -> None:
    """Event time plus delay, in the configured format."""
    _, records = feed_of(settings, 7 * 86_400.0)

    labels = [json.loads(r.value) for r in records if r.kind == "label"]
    assert labels[0] == {"tx": "1", "fraud": 0, "known": "2018-04-08T00:00:00+00:00"}


def test_events_are_keyed_by_entity_and_labels_by_id(settings: Settings) -> None:
    """One card's events share a partition, even those that will be refused."""
    _, records = feed_of(settings)

    assert [r.key for r in records if r.kind == "event"] == [b"c1", b"c2", b"c1"]
    assert [r.key for r in records if r.kind == "label"] == [b"1", b"2"]


def test_without_an_entity_events_are_keyed_by_id() -> None:
    """The id spreads them evenly."""
    event = {name: value for name, value in EVENT.items() if name != "entity"}
    _, records = feed_of(Settings(event=event, label={"id": "tx", "value": "fraud"}))

    assert [r.key for r in records if r.kind == "event"] == [b"1", b"2", b"3"]


def test_what_the_worker_will_refuse_is_sent_and_counted(settings: Settings) -> None:
    """By the worker's own reasons."""
    feed, records = feed_of(settings)

    assert feed.invalid == {"out_of_range": 1}
    assert sum(r.kind == "event" for r in records) == 3


def test_either_kind_can_be_left_out(settings: Settings) -> None:
    """Labels may be published another day."""
    _, events = feed_of(settings, with_labels=False)
    _, labels = feed_of(settings, with_events=False)

    assert {r.kind for r in events} == {"event"}
    assert {r.kind for r in labels} == {"label"}


def test_labels_alone_bring_the_features_where_they_may() -> None:
    """There is no event to join then; what is no valid event has no features to bring."""
    label = {"id": "tx", "value": "fraud", "time": "known", "features": True}
    settings = Settings(event=EVENT, label=label)

    _, alone = feed_of(settings, with_events=False)
    _, beside = feed_of(settings)

    assert [json.loads(r.value).get("amount") for r in alone] == [5.0, None]
    assert not any("amount" in json.loads(r.value) for r in beside if r.kind == "label")
