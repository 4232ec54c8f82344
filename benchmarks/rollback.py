"""Rollbacks under load: from the command to the first score of it on every worker.

    python -m benchmarks.rollback [--broker real|embedded|HOST:PORT] [--rate 2000] [--rollbacks 50]
                                  [--workers 2] [--json FILE]

Workers share the partitions; elec2 events come at the rate, and their labels 500 events later. A
command is timed from just before it is written until a bare consumer has the first score of the
lineage that it began, from each worker: through the control topic, the version in Redis, the other
workers' poll and the way out. At the end every event must have been scored once, by that consumer's
count and by `driftline reconcile`. DRIFTLINE_DATA names the folder of the elec2 file.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks.broker import Broker, open_broker
from benchmarks.elec2 import DataMissingError, Elec2
from benchmarks.processes import ROOT, ContenderError, WorkerProcess
from benchmarks.records import LABEL_DELAY_EVENTS
from models.lineage import parse_id
from stream.commands import give
from stream.embedded import EmbeddedRedis
from stream.genealogy import FIRST_LINEAGE
from stream.kafka_log import Log, Publisher, open_log, open_publisher
from stream.messages import Command
from stream.settings import KafkaSettings
from stream.succession import Succession

TICK_S = 0.002
WARM_UP_S = 8.0
BETWEEN_S = (0.3, 1.2)
"""A command comes at any moment of the other workers' poll, not always just after the last."""
IN_FORCE_S_MAX = 10.0
DRAIN_S = 120.0
TARGET_S = 1.0

progress = Console(stderr=True, highlight=False)


class Took(NamedTuple):
    """One rollback: to its outcome, and to the first score on the first and on the last worker."""

    answered_s: float
    first_s: float
    all_s: float


class Feed(threading.Thread):
    """Publishes events at a rate until told to stop, and all labels that are due."""

    def __init__(self, bootstrap: str, app: str, rate: float) -> None:
        super().__init__(daemon=True)
        self._app, self._rate, self._data = app, rate, Elec2()
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all"})
        self._stop_asked = threading.Event()
        self.n = 0
        self.late_s_max = 0.0

    def run(self) -> None:
        began, now = time.monotonic(), time.monotonic
        while not self._stop_asked.is_set():
            due = int((now() - began) * self._rate)
            self.late_s_max = max(self.late_s_max, (due - self.n) / self._rate)
            for i in range(self.n, due):
                key, value = self._data.event(i)
                self._producer.produce(f"{self._app}.events", value, key)
                if i >= LABEL_DELAY_EVENTS:
                    key, value = self._data.label(i - LABEL_DELAY_EVENTS)
                    self._producer.produce(f"{self._app}.labels", value, key)
            self.n = due
            self._producer.poll(0)
            time.sleep(TICK_S)
        self._producer.flush()

    def finish(self) -> None:
        """Stop, and wait until all is acknowledged."""
        self._stop_asked.set()
        self.join()


class Scores(threading.Thread):
    """Takes all scores: how often each event came, and each lineage's first on each partition."""

    def __init__(self, bootstrap: str, app: str, partitions: int) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{app}.rollback",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 1,
            }
        )
        topic = f"{app}.scores"
        self._consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        self._stop_asked = threading.Event()
        self.n_times: Counter[bytes] = Counter()
        self.first: dict[tuple[int, int], float] = {}

    def run(self) -> None:
        while not self._stop_asked.is_set():
            first = self._consumer.poll(0.05)
            if first is None:
                continue
            messages = [first, *self._consumer.consume(10_000, 0)]
            now = time.monotonic()
            for message in messages:
                if message.error() is None:
                    self.n_times[message.key()] += 1
                    lineage = parse_id(orjson.loads(message.value())["version"])[0]
                    self.first.setdefault((lineage, message.partition()), now)
        self._consumer.close()

    def finish(self) -> None:
        """Stop."""
        self._stop_asked.set()
        self.join()

    def in_force(self, lineage: int, owners: list[set[int]]) -> list[float]:
        """When the first score of a lineage came, for each worker from which one has come."""
        came = {p: at for (which, p), at in dict(self.first).items() if which == lineage}
        times = ([came[p] for p in mine if p in came] for mine in owners)
        return [min(worker) for worker in times if worker]


class Bench:
    """A loaded application whose learner is rolled back again and again."""

    def __init__(
        self, app: str, log: Log, publisher: Publisher, scores: Scores, owners: list[set[int]]
    ) -> None:
        self._app, self._log, self._publisher = app, log, publisher
        self._scores, self._owners = scores, owners
        self._rng = Random(1)
        self._line = Succession(FIRST_LINEAGE)

    def roll_back(self, known: list[str]) -> tuple[Took, str]:
        """Roll back to one of these versions; how long it took, and the new version.

        One that was given up before is restored: to the workers that is the same.
        """
        time.sleep(self._rng.uniform(*BETWEEN_S))
        version = self._rng.choice(known[-20:])
        command = Command(
            id=uuid.uuid4().hex, command="rollback" if self._line.holds(version) else "restore",
            arguments={"version": version},
            who="benchmark", why="", time=time.time(),
        )  # fmt: skip
        began = time.monotonic()
        told = give(
            command, app=self._app, reader=self._log, writer=self._publisher, pause=time,
            timeout=IN_FORCE_S_MAX,
        )  # fmt: skip
        answered = time.monotonic()
        if told is None or told.outcome != "applied" or told.version is None:
            raise ContenderError(f"a rollback was not applied: {told}")
        self._line = self._line.after(told)
        lineage = parse_id(told.version)[0]
        while len(times := self._scores.in_force(lineage, self._owners)) < len(self._owners):
            if time.monotonic() > began + IN_FORCE_S_MAX:
                raise ContenderError(f"{told.version} does not score everywhere")
            time.sleep(TICK_S)
        return Took(answered - began, min(times) - began, max(times) - began), told.version


def lanes_of(workers: list[WorkerProcess], partitions: int) -> list[set[int]]:
    """Wait until the partitions are shared out; give those that each worker scores."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        found = [
            {p for p in range(partitions) if f'lane_lag_records{{lane="score.{p}"}}' in metrics}
            for metrics in (worker.metrics() for worker in workers)
        ]
        if all(found) and sum(map(len, found)) == partitions:
            return found
        time.sleep(0.5)
    raise ContenderError("the partitions were not shared out in a minute")


def first_version(workers: list[WorkerProcess], worker: WorkerProcess) -> str:
    """Wait for a version to roll back to, and for the load to run; give its id."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        listed = cli(worker, "versions", "list")
        learned = sum(w.metrics().get("learned_total", 0.0) for w in workers)
        if listed and learned > 1000:
            return str(listed[-1]["id"])
        time.sleep(1.0)
    raise ContenderError("no version was cut in a minute")


def cli(worker: WorkerProcess, *arguments: str) -> Any:
    """Run a command of the application and read its answer."""
    command = [sys.executable, "-m", "stream", *arguments, "-c", "elec2", "--json"]
    done = subprocess.run(
        command, env=worker.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        raise ContenderError(f"{arguments}: {done.stderr}")
    return json.loads(done.stdout)


def measure(broker: Broker, options: argparse.Namespace) -> dict[str, Any]:
    """Run it all; give what came of it."""
    app, partitions = f"rollback-{secrets.token_hex(3)}", 2 * options.workers
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis())
        make = [
            WorkerProcess(
                broker.bootstrap, redis.url, app, partitions=partitions,
                VERSIONS__EVERY_N="5000", VERSIONS__KEEP="500",
            )
            for _ in range(options.workers)
        ]  # fmt: skip
        cli(make[0], "topics", "create")
        stack.callback(broker.drop, f"{app}.")
        workers = [stack.enter_context(worker) for worker in make]
        for worker in workers:
            worker.await_ready()
        owners = lanes_of(workers, partitions)
        scores = Scores(broker.bootstrap, app, partitions)
        feed = Feed(broker.bootstrap, app, options.rate)
        scores.start()
        feed.start()
        time.sleep(WARM_UP_S)
        known = [first_version(workers, workers[0])]
        log = stack.enter_context(open_log(settings))
        publisher = stack.enter_context(open_publisher(settings, linger_ms=0))
        bench, took = Bench(app, log, publisher, scores, owners), []
        began, n_began = time.monotonic(), feed.n
        for number in range(options.rollbacks):
            one, version = bench.roll_back(known)
            known.append(version)
            took.append(one)
            progress.print(f"{number + 1}: {version} everywhere in {one.all_s:.3f} s")
        rate = (feed.n - n_began) / (time.monotonic() - began)
        feed.finish()
        drain(scores, feed.n)
        balance = settled_balance(workers[0])
        scores.finish()
        return {
            "workers": options.workers, "rate": rate, "events": feed.n,
            "scored_once": sum(n == 1 for n in scores.n_times.values()),
            "adds_up": balance["adds_up"], "load_late_s_max": feed.late_s_max,
            "seconds": {name: [getattr(t, name) for t in took] for name in Took._fields},
        }  # fmt: skip


def drain(scores: Scores, n: int) -> None:
    """Wait until all events have a score."""
    deadline = time.monotonic() + DRAIN_S
    while len(scores.n_times) < n and time.monotonic() < deadline:
        time.sleep(0.1)


def settled_balance(worker: WorkerProcess) -> Any:
    """Reconcile until the label lanes have come to their ends as well."""
    deadline = time.monotonic() + DRAIN_S
    while True:
        balance = cli(worker, "reconcile")
        if balance["adds_up"] or time.monotonic() > deadline:
            return balance
        time.sleep(1.0)


def report(result: dict[str, Any]) -> bool:
    """Print the table; give whether the target is met."""
    table = Table(title=f"{len(result['seconds']['all_s'])} rollbacks, {result['workers']} workers,"
                        f" {result['rate']:,.0f} events/s", title_justify="left")  # fmt: skip
    for title in ("seconds from the command to", "p50", "p95", "p99", "max"):
        table.add_column(title, justify="left" if title.startswith("sec") else "right")
    names = {
        "answered_s": "its outcome on the audit",
        "first_s": "its first score",
        "all_s": "its first score on the last worker",
    }
    for name, text in names.items():
        ordered = sorted(result["seconds"][name])
        shares = (0.5, 0.95, 0.99, 1.0)
        cells = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares]
        table.add_row(text, *(f"{cell:.3f}" for cell in cells))
    console = Console()
    console.print(table)
    console.print(
        f"{result['events']:,} events, {result['scored_once']:,} scored once; reconcile "
        f"{'adds up' if result['adds_up'] else 'does NOT add up'}; the load was at most "
        f"{result['load_late_s_max']:.2f} s late"
    )
    ordered = sorted(result["seconds"]["all_s"])
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return p99 < TARGET_S and result["scored_once"] == result["events"] and result["adds_up"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--broker", default="real", help="real, embedded or HOST:PORT")
    parser.add_argument("--rate", type=float, default=2000.0, help="events a second")
    parser.add_argument("--rollbacks", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    try:
        with open_broker(options.broker) as broker:
            result = measure(broker, options)
    except (ContenderError, DataMissingError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        options.json.write_bytes(msgspec.json.encode(result | {"cpus": os.cpu_count()}))
    return 0 if report(result) else 1


if __name__ == "__main__":
    sys.exit(main())
