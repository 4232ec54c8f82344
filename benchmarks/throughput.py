"""The worker against its peers: records learned per second, latency, and where the time goes.

    python -m benchmarks.throughput [--broker embedded|real|HOST:PORT] [--repeats N]
                                    [--only a,b,c,d,e,latency,profile,estimators]
                                    [--json FILE] [--quick]

All in one run on one broker with the same elec2 records (DRIFTLINE_DATA names their folder), each
contender in a process of its own, in turns: rates of a shared machine say little, ratios of
neighbours say more, CPU time per record says most.

(a) the Driftline worker, (b) a plain Faust app, (c) a bare aiokafka loop, (d) Quix Streams on the
events alone, (e) River in memory. `latency` is from event to score at half of the load that (a)
keeps up with, paced and not from a backlog, and (c)'s beside it, `profile` the worker's CPU time
per record, `estimators` the worker with compiled estimators against the same with River's own, for
three models, and what bounds it then.
"""

from __future__ import annotations

import argparse
import importlib.util
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from rich.console import Console

from benchmarks import report
from benchmarks.broker import Broker, open_broker
from benchmarks.contender import Job, LatencyResult, LoadJob, Result
from benchmarks.elec2 import DataMissingError, Elec2
from benchmarks.hotspots import Hotspots, profile_backlog
from benchmarks.processes import (
    ContenderError,
    WorkerProcess,
    run_contender,
    run_load,
    sustained_rate,
    time_backlog,
    working,
)
from stream.embedded import EmbeddedRedis

CONTENDERS = ("a", "b", "c", "d", "e")
SECTIONS = (*CONTENDERS, "latency", "profile", "estimators")
PEERS = {"b": "peer_faust", "c": "peer_bare", "d": "peer_quix", "e": "peer_river"}
# With how many events River's own are timed: its forest takes a millisecond for each.
PIPELINES = {
    "logistic": 45_000,
    "hoeffding-adaptive-tree": 45_000,
    "adaptive-random-forest": 10_000,
}

T = TypeVar("T")

WIDTH = 120
progress = Console(stderr=True, highlight=False)


class Size(NamedTuple):
    """How many times the file each contender gets, and how long the load lasts."""

    long: int
    short: int
    warm_up_s: float
    measure_s: float


# The slow peer gets the file once: its rate does not depend on the length, our patience does.
FULL = Size(long=4, short=1, warm_up_s=5.0, measure_s=20.0)
QUICK = Size(long=1, short=1, warm_up_s=2.0, measure_s=5.0)


class ComparedEstimators(NamedTuple):
    """A model's worker in native code and in Python, and where the time of the first goes."""

    pipeline: str
    compiled: Result
    river: Result
    spots: Hotspots


class Bench:
    """One run on one broker."""

    def __init__(self, broker: Broker, data: Elec2, size: Size) -> None:
        self._broker = broker
        self._data = data
        self._size = size
        self.prefix = f"bench-{secrets.token_hex(3)}"
        self._n_apps = 0
        self._backlogs: dict[int, str] = {}

    def measure(self, contender: str) -> Result:
        """Run one contender once."""
        times = self._size.short if contender == "b" else self._size.long
        n = times * len(self._data)
        if contender == "a":
            return self.work_off("logistic", "stream", n)
        if contender == "e":
            return run_contender(PEERS[contender], Job("", "", "", "", n))
        app = self._fresh_app(n) if contender == "b" else self._shared_backlog(n)
        return run_contender(PEERS[contender], self._job(app, n))

    def work_off(self, pipeline: str, module: str, n: int) -> Result:
        """Time a worker on a backlog of its own."""
        app, broker = self._fresh_app(n), self._broker.bootstrap
        with (
            EmbeddedRedis() as redis,
            WorkerProcess(broker, redis.url, app, module=module, pipeline=pipeline) as worker,
        ):
            return time_backlog(worker, n)

    def compare_estimators(self, pipeline: str) -> ComparedEstimators:
        """The worker with River's own estimators and with compiled ones, one after the other."""
        river = self.work_off(pipeline, "benchmarks.river_worker", PIPELINES[pipeline])
        n = self._size.short * len(self._data)
        return ComparedEstimators(
            pipeline, self.work_off(pipeline, "stream", n), river, self.profile(pipeline, n)
        )

    def profile(self, pipeline: str = "logistic", n: int | None = None) -> Hotspots:
        """Work a backlog off with the sampler on."""
        n = self._size.long * len(self._data) if n is None else n
        app, broker = self._fresh_app(n), self._broker.bootstrap
        with EmbeddedRedis() as redis:
            return profile_backlog(broker, redis.url, app, n, pipeline)

    def sustained(self, rate: float) -> float:
        """Give what a worker keeps up with, of a load of this rate that is too much for it."""
        job = self._load(rate)
        with EmbeddedRedis() as redis, self._worker(job.app, redis) as worker:
            return sustained_rate(worker, job)

    def latency(self, rate: float) -> LatencyResult:
        """Load a worker at this rate and time its scores."""
        job = self._load(rate)
        with EmbeddedRedis() as redis, self._worker(job.app, redis) as worker:
            worker.await_ready()
            return run_load(job)

    def latency_of_bare_loop(self, rate: float) -> LatencyResult:
        """Do the same to (c): what is left is the load's, the broker's and the machine's."""
        load = self._load(rate)
        self._broker.create(load.scores)
        endless = Job(load.bootstrap, load.events, load.labels, load.scores, sys.maxsize)
        with working(PEERS["c"], endless):
            return run_load(load)

    def _worker(self, app: str, redis: EmbeddedRedis) -> WorkerProcess:
        return WorkerProcess(self._broker.bootstrap, redis.url, app)

    def _load(self, rate: float) -> LoadJob:
        app, size = self._fresh_app(0), self._size
        return LoadJob(self._broker.bootstrap, app, rate, size.warm_up_s, size.measure_s)

    def _job(self, app: str, n: int) -> Job:
        scores = f"{app}.scores-{secrets.token_hex(2)}"
        self._broker.create(scores)
        return Job(self._broker.bootstrap, f"{app}.events", f"{app}.labels", scores, n)

    def _shared_backlog(self, n: int) -> str:
        # Peers that keep no position can read the same topics again.
        if n not in self._backlogs:
            self._backlogs[n] = self._fresh_app(n)
        return self._backlogs[n]

    def _fresh_app(self, n: int) -> str:
        self._n_apps += 1
        app = f"{self.prefix}-{self._n_apps}"
        events, labels = f"{app}.events", f"{app}.labels"
        self._broker.create(events, labels)
        if n:
            self._data.publish(self._broker.bootstrap, events, labels, n)
        return app


def main() -> int:
    options = parse()
    # Piped, it would be 80 columns: too few for the table.
    out = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    try:
        data = Elec2()
    except DataMissingError as error:
        progress.print(f"[red]{error}[/red]")
        return 2
    wanted = [section for section in SECTIONS if section in options.only]
    if "d" in wanted and importlib.util.find_spec("quixstreams") is None:
        progress.print("(d) is skipped: Quix Streams is not installed (pip install quixstreams)")
        wanted.remove("d")
    with open_broker(options.broker) as broker:
        bench = Bench(broker, data, QUICK if options.quick else FULL)
        try:
            content = run(bench, wanted, options.repeats, report.machine(broker.kind), out)
        except ContenderError as error:
            progress.print(f"[red]{error}[/red]", markup=False)
            return 1
        finally:
            broker.drop(bench.prefix)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(content)))
    return 0


def run(
    bench: Bench, wanted: list[str], repeats: int, facts: dict[str, object], out: Console
) -> dict[str, object]:
    """Run what is wanted and print each part as it is there."""
    report.print_machine(out, facts)
    results: defaultdict[str, list[Result]] = defaultdict(list)
    for repeat in range(repeats):
        for contender in (c for c in CONTENDERS if c in wanted):
            title = f"({contender}) {report.TITLES[contender]}, {repeat + 1} of {repeats}"
            result = timed(title, partial(bench.measure, contender))
            progress.print(
                f"  {result.rate:,.0f}/s learned, {result.cpu_us:.1f} us CPU a record, "
                f"{100 * result.queued_s / result.seconds:.0f} % without a CPU, "
                f"{100 * result.idle:.0f} % idle"
            )
            results[contender].append(result)
    content: dict[str, object] = {"machine": facts}
    if results:
        content |= report.summary(results)
        report.print_summary(out, content)
    if "latency" in wanted:
        if "a" not in results:
            results["a"].append(timed("(a) for its rate", lambda: bench.measure("a")))
        backlog = report.summary(results)["contenders"]["a"]["learned_per_s"]
        sustained = timed(f"load of {backlog:,.0f}/s", lambda: bench.sustained(backlog))
        half = sustained / 2
        latency = timed(f"half of {sustained:,.0f}/s", lambda: bench.latency(half))
        bare = timed("the same to (c)", lambda: bench.latency_of_bare_loop(half))
        content["latency"] = {
            "sustained_per_s": sustained,
            **msgspec.to_builtins(latency),
            "bare_loop": msgspec.to_builtins(bare),
        }
        report.print_latency(out, latency, bare)
    if "profile" in wanted:
        spots = timed("profile of the worker", bench.profile)
        content["profile"] = spots._asdict()
        report.print_hotspots(out, spots)
    if "estimators" in wanted:
        content["estimators"] = [
            report.compare_estimators(
                out, *timed(pipeline, partial(bench.compare_estimators, pipeline))
            )
            for pipeline in PIPELINES
        ]
    return content


def timed(title: str, action: Callable[[], T]) -> T:
    """Do something long and say so."""
    began = time.monotonic()
    with progress.status(title):
        result = action()
    progress.print(f"{title}: {time.monotonic() - began:.0f} s")
    return result


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--broker", default="embedded", help="embedded (default), real, or host:port"
    )
    parser.add_argument("--repeats", type=int, default=3, help="how often each runs (default 3)")
    parser.add_argument(
        "--only", type=_sections, default=SECTIONS, help=f"some of {','.join(SECTIONS)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the records, one short load"
    )
    return parser.parse_args()


def _sections(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not in {', '.join(SECTIONS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
