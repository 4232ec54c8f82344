"""The demo's folding and drawing, from recorded records: no servers, no terminal."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from rich.console import Console

from models.learner import Learner
from models.pipelines import build
from models.types import Direction, DriftKind, DriftLevel, DriftSignal, Example, Task
from stream import topics
from stream.cli.demo import DATASET_NAMES
from stream.demo import DATASETS
from stream.demo_feed import Feed, Lane, Phase, Player, Progress, cards, in_time_order
from stream.demo_screen import Screen
from stream.demo_state import DemoState, DriftNote, Duel, FrozenRival, Point, VersionCut
from stream.demo_summary import Summary, render_summary, summarise
from stream.demo_view import Frame, chart, drift_line, frame_of, line, render
from stream.demo_worker import last_words
from stream.messages import Decision, encode_drift, encode_json

DAY = 86_400.0


def printed(renderable: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(renderable)
    return console.export_text()


def small_feed(n: int = 40) -> Feed:
    events = Lane(
        np.arange(n) * DAY,
        [b"k"] * n,
        [encode_json({"id": i, "x": float(i % 2)}) for i in range(n)],
    )
    labels = Lane(
        (np.arange(n) + 2) * DAY,
        [b"k"] * n,
        [encode_json({"id": i, "label": i % 2}) for i in range(n)],
    )
    return Feed(
        title="small",
        unit="things",
        note="two days late",
        events=events,
        labels=labels,
        event_ids=[str(i) for i in range(n)],
        phases=[Phase("first", 0, n / 2 * DAY), Phase("second", n / 2 * DAY, n * DAY)],
        change_s=n / 2 * DAY,
    )


def example(i: int, *, position: int, score: float = 0.5, label: bool | None = None) -> Example:
    return Example(
        event_id=str(i),
        features={"x": float(i % 2)},
        label=bool(i % 2) if label is None else label,
        score=score,
        version=f"v1-{position}",
        model_position=position,
        event_time=i * DAY,
        label_time=(i + 2) * DAY,
        origin="labels/0",
        offset=i,
        floor=i,
    )


def decision(i: int, *, alert: bool = False) -> bytes:
    return encode_json(
        Decision(str(i), 0.9 if alert else 0.1, "alert" if alert else "pass", 0.5, "v1-0", 0, 0.0,
                 None, 0, i, stale=False)
    )  # fmt: skip


def state_of(feed: Feed, freeze_after: int = 10) -> DemoState:
    rival = FrozenRival(Learner(build("logistic", Task.BINARY, 1), Task.BINARY), freeze_after)
    return DemoState(feed, rival, Progress(sent_ms=np.full(len(feed.events), 1_000)))


def recorded_frame() -> Frame:
    feed = small_feed()
    state = state_of(feed)
    state.progress.n_events, state.progress.n_labels, state.progress.share = 40, 38, 0.5
    state.observe(0.0)
    state.absorb(
        topics.SCORES.name,
        [(i, 1_000 + i, decision(i, alert=i % 4 == 0)) for i in range(40)],
        seconds=1.0,
    )
    records = [
        (i, 0, encode_json(example(i, position=max(0, i - 2), score=(i % 2) * 0.8)))
        for i in range(38)
    ]
    state.absorb(topics.EXAMPLES.name, records, seconds=2.0)
    signal = DriftSignal(
        DriftKind.CONCEPT,
        "error",
        DriftLevel.CONFIRMED,
        Direction.WORSENED,
        0.02,
        0.06,
        21,
        23 * DAY,
    )
    state.absorb(topics.DRIFT.name, [(0, 0, encode_drift(signal, 0, 1))], seconds=2.0)
    version = {"event": "cut", "shard": 0, "id": "v1-20", "reason": "time", "n_learned": 20}
    state.absorb(topics.VERSIONS.name, [(0, 0, encode_json(version))], seconds=2.0)
    state.observe(2.0)
    return frame_of(state, 2.0)


def test_a_frame_counts_what_the_topics_brought() -> None:
    frame = recorded_frame()
    assert (frame.n_events, frame.n_scores, frame.n_alerts) == (40, 40, 10)
    assert (frame.n_labels, frame.n_learned, frame.n_dead_letters) == (38, 38, 0)
    assert frame.live.auc == 1.0
    assert frame.latency_ms == pytest.approx((19.5, 37.05, 38.61))
    assert frame.scores_per_s == pytest.approx(20.0)
    assert frame.frozen_at is not None
    assert [version.id for version in frame.versions] == ["v1-20"]


@pytest.mark.parametrize("width", [80, 100])
def test_the_picture_fits_the_terminal(width: int) -> None:
    text = printed(render(recorded_frame(), width), width)
    rows = text.splitlines()
    assert len(rows) <= 23
    assert max(map(len, rows)) <= width
    for shown in ("40", "confirmed worsened 2.0% → 6.0%", "v1-20", "frozen since", "AUC 1.000"):
        assert shown in text


def test_the_picture_keeps_its_height_as_news_come() -> None:
    frame = recorded_frame()
    bare = dataclasses.replace(frame, drifts=(), versions=(), curve=(), latency_ms=None)
    busy = dataclasses.replace(frame, drifts=frame.drifts * 30, versions=frame.versions * 30)
    heights = {len(printed(render(each)).splitlines()) for each in (frame, bare, busy)}
    assert len(heights) == 1


def test_a_frame_in_one_line() -> None:
    text = line(recorded_frame())
    assert "events 40" in text
    assert "AUC live 1.000" in text
    assert "drifts 1  versions 1" in text
    assert "\n" not in text


def test_a_score_that_is_published_again_counts_once() -> None:
    state = state_of(small_feed())
    for seconds in (1.0, 2.0):
        state.absorb(topics.SCORES.name, [(0, 1_005, decision(3))], seconds)
    state.absorb(topics.SCORES.name, [(1, 1_005, decision(999))], 3.0)
    assert state.n_scores == 1
    assert state.latency_ms(recent=False) == (5.0, 5.0, 5.0)


def test_dead_letters_are_counted_by_reason() -> None:
    state = state_of(small_feed())
    letter = {
        "topic": "t", "partition": 0, "offset": 1, "timestamp": 0, "reason": "not_json",
        "detail": "", "key": None, "value": None, "headers": [], "schema": 1,
    }  # fmt: skip
    state.absorb(topics.DEAD_LETTERS.name, [(0, 0, encode_json(letter))] * 2, 1.0)
    assert state.dead_letters == {"not_json": 2}


def fold(examples: Sequence[Example], n: int) -> Learner:
    learner = Learner(build("logistic", Task.BINARY, 1), Task.BINARY)
    learner.absorb(examples[:n], list(range(n)))
    return learner


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_the_frozen_rival_is_the_live_model_at_the_freeze(batch: int) -> None:
    """Before the freeze it repeats the live scores; after it, it answers as that model would."""
    examples = [example(i, position=i, score=0.25) for i in range(600)]
    learner = Learner(build("logistic", Task.BINARY, 1), Task.BINARY)
    rival = FrozenRival(learner, freeze_after=256)
    answers: list[float] = []
    for start in range(0, 600, batch):
        chunk = examples[start : start + batch]
        answers += rival.answers(chunk, list(range(start, start + len(chunk))))
    assert answers[:256] == [0.25] * 256
    twin = fold(examples, 256)
    known = [twin.score(each.features) for each in examples]
    assert answers[300:] == known[300:]
    assert rival.frozen_at_s == examples[255].label_time


def test_the_duel_compares_over_stretches_of_event_time() -> None:
    duel = Duel()
    examples = [example(i, position=i, score=float(i % 2)) for i in range(20)]
    duel.add(examples, [0.5] * 20)
    n, live, frozen = duel.between(10 * DAY, 15 * DAY)
    assert (n, live.auc, frozen.auc) == (5, 1.0, 0.5)
    n, live, _ = duel.between(100 * DAY, 200 * DAY)
    assert (n, live.auc, live.ap) == (0, None, None)


def summary_of_recorded() -> Summary:
    state = state_of(small_feed())
    state.progress.n_events = 40
    state.absorb(topics.SCORES.name, [(i, 1_010, decision(i)) for i in range(40)], 1.0)
    records = [(i, 0, encode_json(example(i, position=i, score=(i % 2) * 0.8))) for i in range(40)]
    state.absorb(topics.EXAMPLES.name, records, 2.0)
    state.drifts += [DriftNote("1970-01-24", 0.5, "confirmed", "worsened", "error", 0.02, 0.06)] * 9
    state.versions.append(VersionCut("v1-20", "time", 20, 1.0))
    return summarise(state, "cards", 2.0, interrupted=False)


def test_the_summary_is_json_for_machines() -> None:
    summary = summary_of_recorded()
    read = json.loads(json.dumps(summary.as_dict()))
    assert read["schema"] == 1
    assert (read["events"], read["scores"], read["learned"]) == (40, 40, 40)
    assert read["latency_ms"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0}
    assert [phase["name"] for phase in read["phases"]] == ["first", "second"]
    assert read["phases"][0]["live"]["auc"] == 1.0
    assert len(read["drifts"]) == 9


def test_the_summary_for_people_fits_the_terminal() -> None:
    text = printed(render_summary(summary_of_recorded()))
    assert max(map(len, text.splitlines())) <= 80
    for shown in ("40 learned", "newest v1-20", "9 signals, the last 8"):
        assert shown in text


def test_a_summary_of_nothing_can_be_shown() -> None:
    """Ctrl-C may come before the first score."""
    state = state_of(small_feed())
    summary = summarise(state, "cards", 0.0, interrupted=True)
    assert "no scores" in printed(render_summary(summary))
    assert summary.as_dict()["interrupted"] is True


def test_a_chart_marks_the_change_and_clips_what_is_out_of_range() -> None:
    rows = chart([("green", [(0.0, 0.0), (1.0, 2.0)])], width=10, height=3, low=0, high=1, mark=0.5)
    text = "\n".join(row.plain for row in rows)
    assert all(len(row.plain) == 10 for row in rows)
    assert "┊" in text
    assert rows[0].plain[-1] != " "
    assert chart([], width=4, height=1, low=0, high=1)[0].plain == "    "


def test_plain_screens_say_drift_once_and_lines_now_and_then() -> None:
    console = Console(file=io.StringIO(), width=200)
    screen = Screen(console)
    frame = recorded_frame()
    screen.step("waiting (1 s)")
    screen.step("waiting (2 s)")
    with screen.live():
        for i in range(40):
            screen.show(dataclasses.replace(frame, seconds=i * 0.25))
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert said.count("waiting") == 1
    assert said.count(drift_line(frame.drifts[0])) == 1
    assert sum("events 40" in text for text in said) == 3


class RecordingPublisher:
    """Takes what `stream.kafka_log.Publisher` would send."""

    def __init__(self) -> None:
        self.sent: dict[str, list[bytes]] = {"events": [], "labels": []}

    def publish(self, topic: str, key: bytes, value: bytes, timestamp_ms: int) -> None:
        assert timestamp_ms > 0
        self.sent[topic].append(value)

    def serve(self) -> None:
        pass

    def flush(self) -> None:
        pass


def test_the_player_sends_all_in_order() -> None:
    feed, publisher = small_feed(), RecordingPublisher()
    player = Player(
        feed, publisher, ("events", "labels"), 0.1, lambda: len(publisher.sent["events"])
    )
    player.run()
    assert player.error is None
    assert publisher.sent == {"events": feed.events.values, "labels": feed.labels.values}
    assert (player.progress.n_events, player.progress.n_labels) == (40, 40)
    assert player.progress.share == 1.0
    assert (player.progress.sent_ms > 0).all()


def test_the_player_waits_for_a_worker_that_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.demo_feed.UNANSWERED_MAX", 5)
    feed, publisher = small_feed(), RecordingPublisher()
    player = Player(feed, publisher, ("events", "labels"), 0.5, lambda: 0)
    player.start()
    player.join(1.5)
    assert player.is_alive()
    assert player.progress.n_events < 40
    player.stop()
    player.join(2.0)
    assert not player.is_alive()


def test_the_cards_feed_hides_the_answers() -> None:
    feed = cards(10, seed=1)
    event = json.loads(feed.events.values[0])
    assert set(event) == {
        "TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT",
    }  # fmt: skip
    label = msgspec.json.decode(feed.labels.values[5])
    assert label["TRANSACTION_ID"] == 5
    assert (feed.labels.time_s - feed.events.time_s == 7 * DAY).all()
    assert [phase.name for phase in feed.phases] == [
        "before the change", "changed, no labels yet", "changed, labels arrive",
    ]  # fmt: skip


def test_a_lane_is_put_in_time_order() -> None:
    lane = in_time_order([(3.0, b"c", b"3"), (1.0, b"a", b"1"), (3.0, b"b", b"3b")])
    assert lane.values == [b"1", b"3", b"3b"]


def test_last_words_are_the_reason_and_not_the_goodbye() -> None:
    log = ["[INFO] start", "[ERROR] no Redis"] + ["[INFO] stopping"] * 100
    assert last_words(log)[0] == "[ERROR] no Redis"
    assert len(last_words(log)) == 30
    assert last_words(["[INFO] a"] * 100) == ["[INFO] a"] * 30


def test_the_command_offers_the_datasets_there_are() -> None:
    assert set(DATASET_NAMES) == set(DATASETS)


def test_points_and_frames_are_plain_values() -> None:
    """Frames can be compared and recorded."""
    assert Point(0.5, 0.9, None) == Point(0.5, 0.9, None)
    assert recorded_frame() == recorded_frame()
