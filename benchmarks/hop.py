"""What a further entity costs in time: event to score, with its hop and without.

    python -m benchmarks.hop [--broker real|embedded|HOST:PORT] [--quick]

Events are partitioned by card; windows of a shop, and its delayed risk, take them over one more log
(`<app>.by-shop`) and through one more lane. A worker of each kind is first given more than it can
take, paced; then both get half of what the one with the hop kept up with, and a bare consumer times
the scores. Exits with 1 where the target is missed.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.broker import Broker, open_broker
from benchmarks.contender import LatencyResult, LoadJob
from benchmarks.processes import ContenderError, WorkerProcess, run_load, sustained_rate
from stream.embedded import EmbeddedRedis

TARGET_P99_MS = 60.0
OVERLOAD = 20_000.0
WARM_UP_S, MEASURE_S = 5.0, 20.0
BASE = """
app = "hop"
[event]
id = "id"
entity = "card"
[event.features]
amount = { min = 0 }
shop = { type = "integer", min = 0 }
[label]
id = "id"
value = "fraud"
[[features.window]]
entity = "card"
value = "amount"
windows = ["1h", "1d", "7d"]
stats = ["count", "mean"]
"""
HOP = """
[[features.window]]
entity = "shop"
value = "amount"
windows = ["1h", "1d", "7d"]
stats = ["count", "mean"]
[[features.risk]]
entity = "shop"
windows = ["1d", "7d"]
delay = "1s"
"""
KINDS = {"one entity": BASE, "and a hop to another": BASE + HOP}

progress = Console(stderr=True, highlight=False)


class Bench:
    """One run on one broker."""

    def __init__(self, broker: Broker, folder: Path, *, quick: bool) -> None:
        self._broker = broker
        self._folder = folder
        self._shorter = 4 if quick else 1
        self.prefix = f"hop-{secrets.token_hex(3)}"
        self._n_apps = 0

    def sustained(self, kind: str) -> float:
        """Overload a worker; give how many events a second it learns meanwhile."""
        job = self._load(OVERLOAD)
        with EmbeddedRedis() as redis, self._worker(job.app, redis, kind) as worker:
            return sustained_rate(worker, job)

    def latency(self, kind: str, rate: float) -> LatencyResult:
        """Load a worker at this rate and time its scores."""
        job = self._load(rate)
        with EmbeddedRedis() as redis, self._worker(job.app, redis, kind) as worker:
            worker.await_ready()
            return run_load(job)

    def _load(self, rate: float) -> LoadJob:
        self._n_apps += 1
        app, measure_s = f"{self.prefix}-{self._n_apps}", MEASURE_S / self._shorter
        job = LoadJob(self._broker.bootstrap, app, rate, WARM_UP_S, measure_s, records="cards")
        self._broker.create(job.events, job.labels)
        return job

    def _worker(self, app: str, redis: EmbeddedRedis, kind: str) -> WorkerProcess:
        config = self._folder / f"{kind.replace(' ', '-')}.toml"
        config.write_text(KINDS[kind])
        return WorkerProcess(self._broker.bootstrap, redis.url, app, config=str(config))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--broker", default="real", help="real (default), embedded, or host:port")
    parser.add_argument("--quick", action="store_true", help="a quarter of the records and time")
    options = parser.parse_args()
    with open_broker(options.broker) as broker, tempfile.TemporaryDirectory() as folder:
        bench = Bench(broker, Path(folder), quick=options.quick)
        try:
            rates, found = run(bench)
        except ContenderError as error:
            progress.print(f"[red]{error}[/red]", markup=False)
            return 1
        finally:
            broker.drop(bench.prefix)
    print_table(Console(width=110), rates, found)
    *_, with_hop = found.values()
    return 0 if with_hop.p99_ms < TARGET_P99_MS and not with_hop.lost else 1


def run(bench: Bench) -> tuple[dict[str, float], dict[str, LatencyResult]]:
    """Measure both kinds, one after the other."""
    rates, found = {}, {}
    for kind in KINDS:
        progress.print(f"{kind}: {OVERLOAD:,.0f} events/s, which are too many")
        rates[kind] = bench.sustained(kind)
    for kind in KINDS:
        progress.print(f"{kind}: {min(rates.values()) / 2:,.0f} events/s")
        found[kind] = bench.latency(kind, min(rates.values()) / 2)
    return rates, found


def print_table(out: Console, rates: dict[str, float], found: dict[str, LatencyResult]) -> None:
    """Print what there is, and the verdict."""
    table = Table(title=f"Event to score at {min(rates.values()) / 2:,.0f} events/s")
    for name in ("windows of", "keeps up with", "events", "lost", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="left" if name == "windows of" else "right")
    for kind, result in found.items():
        times = f"{result.p50_ms:.1f}", f"{result.p95_ms:.1f}", f"{result.p99_ms:.1f}"
        table.add_row(kind, f"{rates[kind]:,.0f}", f"{result.n:,}", str(result.lost), *times)
    out.print(table)
    without, with_hop = found.values()
    met = with_hop.p99_ms < TARGET_P99_MS
    out.print(
        f"the hop costs {with_hop.p50_ms - without.p50_ms:.1f} ms (p50), "
        f"{with_hop.p99_ms - without.p99_ms:.1f} ms (p99)\n"
        f"target p99 under {TARGET_P99_MS:.0f} ms: {'met' if met else 'missed'}"
    )


if __name__ == "__main__":
    sys.exit(main())
