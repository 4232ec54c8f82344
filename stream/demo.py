"""`driftline demo`: the whole system on one machine, in about a minute.

    embedded Kafka + Redis  <-  a worker (its own process)
            ^                        |
      player thread            scores, examples, drift, versions, dead letters
                                     v
                         this process: fold (demo_state), draw (demo_view), sum up (demo_summary)

Only the main thread reads topics and draws, so nothing here needs a lock; the player's thread
writes plain counters that the main thread reads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from models.types import Task
from stream import topics
from stream.demo_feed import Feed, Player, cards
from stream.demo_screen import Screen
from stream.demo_state import FREEZE_SHARE, DemoState, FrozenRival
from stream.demo_summary import Summary, summarise
from stream.demo_view import frame_of
from stream.demo_worker import DemoFailed, WorkerProcess
from stream.embedded import NOTICE, EmbeddedKafka, EmbeddedRedis, free_port
from stream.kafka_log import Log, Publisher, open_log, open_publisher
from stream.learners import new_learner
from stream.settings import Settings, load_settings

SECONDS_MIN = 10.0
PLAY_SHARE = 0.75
"""The rest of the time goes to starting, to the last labels and to stopping."""
POLL_MS = 50
LINGER_MS = 5
DRAIN_DEADLINE_S = 8.0
LATE_FACTOR = 2.0
LAST_WORDS_S = 1.0

READ = (topics.SCORES, topics.EXAMPLES, topics.DRIFT, topics.VERSIONS, topics.DEAD_LETTERS)

# A minute is short: cut versions every few seconds, and let the embedded broker's groups (which
# make a member wait for half its session timeout) form quickly.
TUNING = {
    "KAFKA__PARTITIONS": "4",
    "KAFKA__SESSION_TIMEOUT": "6s",
    "VERSIONS__EVERY_N": "20000",
    "VERSIONS__INTERVAL": "5s",
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set to play, and the preset that describes it."""

    preset: str
    feed: Callable[[float, int], Feed]


def _flights(seconds: float, seed: int) -> Feed:
    from stream.flights import flights

    return flights(seconds, seed)


DATASETS = {"cards": Dataset("fraud", cards), "flights": Dataset("flights", _flights)}


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; `config` None means the data set's own preset."""

    dataset: str = "cards"
    seconds: float = 60.0
    config: str | None = None
    seed: int = 1
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the demo's servers are, while they are."""

    config: str
    kafka: str
    redis: str
    http_port: int

    def environment(self) -> dict[str, str]:
        """Give the settings as environment variables, for the worker and for the user's shell."""
        return {
            "DRIFTLINE_KAFKA__BOOTSTRAP": self.kafka,
            "DRIFTLINE_REDIS__URL": self.redis,
            "DRIFTLINE_WORKER__HTTP_PORT": str(self.http_port),
            **{f"DRIFTLINE_{name}": value for name, value in TUNING.items()},
        }


def run_demo(options: Options, screen: Screen) -> Summary:
    """Run the demo to its end, or until Ctrl-C; either way everything is stopped in order.

    Raises
    ------
    DemoFailed
        When the worker dies, or nothing was scored.
    """
    dataset = DATASETS[options.dataset]
    screen.step(f"preparing the {options.dataset}")
    feed = dataset.feed(max(SECONDS_MIN, options.seconds) * PLAY_SHARE, options.seed)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_sigterm_as_interrupt())
        screen.step("starting the embedded Kafka and Redis")
        kafka = stack.enter_context(EmbeddedKafka())
        redis = stack.enter_context(EmbeddedRedis())
        screen.note(NOTICE)
        config = options.config or dataset.preset
        where = Addresses(config, kafka.bootstrap, redis.url, free_port())
        settings = settings_of(where)
        create_topics(settings)
        worker = stack.enter_context(WorkerProcess(config, where.environment(), where.http_port))
        worker.await_ready(lambda s: screen.step(f"waiting for the worker ({s:.0f} s)"))
        log = stack.enter_context(open_log(settings.kafka))
        publisher = stack.enter_context(open_publisher(settings.kafka, linger_ms=LINGER_MS))
        run = _Run(options, feed, settings, worker, screen, log, publisher)
        summary = stack.enter_context(contextlib.closing(run)).play()
        screen.summary(summary)
        if options.keep and not summary.interrupted:
            screen.keep(where)
    return summary


def settings_of(where: Addresses) -> Settings:
    """Load the configuration as the worker will see it; the demo needs a binary task."""
    with _environment(where.environment()):
        settings = load_settings(where.config)
    if settings.model.task is not Task.BINARY:
        raise DemoFailed(
            f"the demo compares rankings, so it needs model.task = binary: {where.config} has "
            f"{settings.model.task}"
        )
    return settings


def create_topics(settings: Settings) -> None:
    """Create the application's topics, as `driftline topics create` does."""
    from stream.cli.topics import create_topics as create

    create(settings)


class _Run:
    # One playing of a feed against a worker that is ready.

    def __init__(
        self,
        options: Options,
        feed: Feed,
        settings: Settings,
        worker: WorkerProcess,
        screen: Screen,
        log: Log,
        publisher: Publisher,
    ) -> None:
        self._options = options
        self._worker = worker
        self._screen = screen
        self._names = {topic.full_name(settings.app): topic.name for topic in READ}
        self._poll = log.follow_all(self._names, POLL_MS)
        play_s = max(SECONDS_MIN, options.seconds) * PLAY_SHARE
        self._play_deadline_s = play_s * LATE_FACTOR
        names = (topics.EVENTS.full_name(settings.app), topics.LABELS.full_name(settings.app))
        self._player = Player(feed, publisher, names, play_s, lambda: self.state.n_scores)
        freeze_after = round(FREEZE_SHARE * len(feed.labels))
        rival = FrozenRival(new_learner(settings), freeze_after)
        self.state = DemoState(feed, rival, self._player.progress)
        self._begin = time.monotonic()

    def play(self) -> Summary:
        """Play, watch, stop the worker (unless it is kept) and sum up."""
        interrupted = False
        self._begin = time.monotonic()
        self._player.start()
        try:
            with self._screen.live():
                self._watch()
        except KeyboardInterrupt:
            interrupted = True
            self._screen.note("interrupted: stopping in order")
        played_s = self._seconds()
        self._player.stop()
        if interrupted or not self._options.keep:
            self._screen.step("stopping the worker, which cuts a last version")
            self._worker.stop()
            self._listen_to_the_end()
        if self.state.n_scores == 0 and not interrupted:
            raise self._worker.explain("scored nothing")
        return summarise(self.state, self._options.dataset, played_s, interrupted=interrupted)

    def close(self) -> None:
        """Stop the player."""
        self._player.stop()
        if self._player.is_alive():
            self._player.join()

    def _seconds(self) -> float:
        return time.monotonic() - self._begin

    def _watch(self) -> None:
        played_at = None
        while True:
            self._listen()
            self._worker.check()
            self._check_player()
            now = self._seconds()
            if self._screen.is_due(now):
                self._show(now)
            if played_at is None and not self._player.is_alive():
                played_at = now
            if played_at is None and now > self._play_deadline_s:
                self._screen.note("this machine is too slow for the rate: ending early")
                self._player.stop()
                self._player.join()
            if played_at is not None and (self._is_done() or now > played_at + DRAIN_DEADLINE_S):
                self._show(now)
                return

    def _check_player(self) -> None:
        if self._player.error is not None:
            raise DemoFailed(f"the producer failed: {self._player.error}")

    def _show(self, now: float) -> None:
        self.state.observe(now)
        self._screen.show(frame_of(self.state, now))

    def _is_done(self) -> bool:
        state, progress = self.state, self.state.progress
        n_dead = state.dead_letters.total()
        return state.n_scores + state.n_learned + n_dead >= progress.n_events + progress.n_labels

    def _listen(self) -> bool:
        by_topic: dict[str, list[tuple[int, int, bytes]]] = defaultdict(list)
        for tp, messages in self._poll().items():
            by_topic[self._names[tp.topic]] += [(m.offset, m.timestamp, m.value) for m in messages]
        now = self._seconds()
        for topic, records in by_topic.items():
            self.state.absorb(topic, records, now)
        return bool(by_topic)

    def _listen_to_the_end(self) -> None:
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < LAST_WORDS_S:
            if self._listen():
                quiet_since = time.monotonic()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Stop in order on SIGTERM as well: the worker must not outlive the demo."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
