"""The tables of `benchmarks.throughput`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contender import LatencyResult, Result
from benchmarks.hotspots import Hotspots

LIBRARIES = (
    "faust-streaming",
    "aiokafka",
    "river",
    "redis",
    "msgspec",
    "orjson",
    "uvloop",
    "confluent-kafka",
    "quixstreams",
)
TITLES = {
    "a": "Driftline's worker",
    "b": "plain Faust",
    "c": "bare aiokafka loop",
    "d": "Quix Streams, events alone",
    "e": "River in memory",
}
TARGET_OVER_FAUST = 6.0
TARGET_OVER_BARE = 0.5
TARGET_P99_MS = 50.0
TARGETS_OVER_RIVER = {"adaptive-random-forest": 20.0}
N_BOUNDS = 4
BUCKET_MIN_US = 0.05


def machine(broker: str) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "broker": broker,
        "libraries": {name: v for name in LIBRARIES if (v := _version(name)) is not None},
    }


def print_machine(out: Console, facts: dict[str, Any]) -> None:
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    out.print(
        f"{facts['cpu']}, {facts['cores']} cores (load {facts['load_1m']}), "
        f"Python {facts['python']}\nbroker: {facts['broker']}\n{libraries}"
    )


def summary(results: dict[str, list[Result]]) -> dict[str, Any]:
    """Medians over the repeats, and the ratios that have targets."""
    found: dict[str, Any] = {
        key: {
            "name": TITLES[key],
            "records": runs[0].n,
            "repeats": len(runs),
            "learned_per_s": median(run.rate for run in runs),
            "handled_per_s": median(run.rate_handled for run in runs),
            "cpu_us_per_record": median(run.cpu_us for run in runs),
            "queued_share": median(run.queued_s / run.seconds for run in runs),
            "idle_share": median(run.idle for run in runs),
            "labels_lost": max(run.lost for run in runs),
            "labels_early": max(run.n_early for run in runs),
            "runs_per_s": [round(run.rate) for run in runs],
        }
        for key, runs in results.items()
    }
    ratios = {}
    # Plain Faust is credited for the records whose labels it lost.
    for peer, of, target in (
        ("b", "handled_per_s", TARGET_OVER_FAUST),
        ("c", "learned_per_s", TARGET_OVER_BARE),
    ):
        if "a" in found and peer in found:
            # Of neighbours in time, since the machine may be shared.
            pairs = zip(results["a"], results[peer], strict=False)
            ratios[f"a/{peer}"] = {
                "of_medians": found["a"]["learned_per_s"] / found[peer][of],
                "median_of_pairs": median(x.rate / y.rate_handled for x, y in pairs),
                "cpu": found[peer]["cpu_us_per_record"] / found["a"]["cpu_us_per_record"],
                "target": target,
            }
    return {"contenders": found, "ratios": ratios}


def print_summary(out: Console, content: dict[str, Any]) -> None:
    table = Table(title="Records learned per second: elec2, StandardScaler | LogisticRegression")
    table.add_column("")
    for name in (
        "records",
        "learned/s",
        "handled/s",
        "CPU us/record",
        "no CPU",
        "idle",
        "lost",
        "early",
    ):
        table.add_column(name, justify="right")
    table.add_column("each run, learned/s")
    for key, row in content["contenders"].items():
        table.add_row(
            f"({key}) {row['name']}",
            f"{row['records']:,}",
            f"[bold]{row['learned_per_s']:,.0f}[/bold]",
            f"{row['handled_per_s']:,.0f}",
            f"{row['cpu_us_per_record']:.1f}",
            f"{100 * row['queued_share']:.0f} %",
            f"{100 * row['idle_share']:.0f} %",
            f"{row['labels_lost']:,}",
            f"{row['labels_early']:,}",
            " ".join(f"{rate:,}" for rate in row["runs_per_s"]),
        )
    out.print(table)
    for name, ratio in content["ratios"].items():
        out.print(
            f"{name}: [bold]{ratio['of_medians']:.2f}[/bold] of medians, "
            f"{ratio['median_of_pairs']:.2f} median of runs side by side, "
            f"{ratio['cpu']:.2f} by CPU; target at least {ratio['target']}: "
            f"{_verdict(ratio['of_medians'] >= ratio['target'])}"
        )
    out.print(
        "no CPU: ready to run, but others had the machine's cores; idle: waiting for the broker or "
        "Redis; early: labels that came before their events and were kept"
    )
    if "b" in content["contenders"]:
        out.print("a/b credits (b) with the records whose labels it lost")


def print_latency(out: Console, result: LatencyResult, bare: LatencyResult) -> None:
    title = (
        f"Event to score at half of the load that the worker keeps up with: {result.rate:,.0f}/s"
    )
    table = Table(title=title)
    table.add_column("")
    for name in ("events", "lost", "p50 ms", "p95 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="right")
    for key, row in (("a", result), ("c", bare)):
        values = (row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms)
        times = (f"{value:.1f}" for value in values)
        table.add_row(f"({key}) {TITLES[key]}", f"{row.n:,}", f"{row.lost:,}", *times)
    out.print(table)
    out.print(
        "from the event's CreateTime to the score's arrival at a bare consumer; to the score's "
        f"CreateTime p50 {result.stamped_p50_ms:.0f}, p99 {result.stamped_p99_ms:.0f} ms; the "
        f"producer itself was late by up to {result.late_p99_ms:.1f} ms (p99)\n"
        f"target p99 under {TARGET_P99_MS:.0f} ms: {_verdict(result.p99_ms < TARGET_P99_MS)}"
    )


def print_hotspots(out: Console, spots: Hotspots) -> None:
    table = Table(title=f"Where the worker's time goes ({spots.n_samples:,} samples)")
    table.add_column("")
    table.add_column("us/record", justify="right")
    table.add_column("share", justify="right")
    for name, us in spots.buckets.items():
        if us >= BUCKET_MIN_US:
            table.add_row(name, f"{us:.2f}", f"{100 * us / spots.total_us:.1f} %")
    table.add_section()
    table.add_row("CPU in all", f"{spots.total_us:.2f}", "100 %")
    table.add_row("in it: garbage collection", f"{spots.gc_us:.2f}", _share(spots.gc_us, spots))
    out.print(table)


def compare_estimators(
    out: Console, pipeline: str, compiled: Result, river: Result, spots: Hotspots
) -> dict[str, Any]:
    """Print and give how much faster a worker is with compiled estimators, and what bounds it."""
    ratio, by_cpu = compiled.rate / river.rate, river.cpu_us / compiled.cpu_us
    target = TARGETS_OVER_RIVER.get(pipeline)
    verdict = (
        "" if target is None else f"; target at least {target:.0f}: {_verdict(ratio >= target)}"
    )
    out.print(
        f"{pipeline}: [bold]{compiled.rate:,.0f}[/bold] learned/s compiled, {river.rate:,.0f} with "
        f"River's own: [bold]{ratio:.1f} x[/bold]{verdict}; {compiled.cpu_us:.0f} and "
        f"{river.cpu_us:,.0f} us CPU a record: {by_cpu:.1f} x"
    )
    of_model = sum(us for name, us in spots.buckets.items() if name.endswith("the model"))
    rest = [(name, us) for name, us in spots.buckets.items() if not name.endswith("the model")]
    parts = [("the model", of_model), *rest[:N_BOUNDS]]
    bounds = ", ".join(f"{name} {100 * us / spots.total_us:.0f} %" for name, us in parts)
    out.print(f"  its time compiled: {bounds}")
    return {
        "pipeline": pipeline,
        "compiled_per_s": compiled.rate,
        "river_per_s": river.rate,
        "ratio": ratio,
        "ratio_by_cpu": by_cpu,
        "compiled_cpu_us": compiled.cpu_us,
        "river_cpu_us": river.cpu_us,
        "profile": spots._asdict(),
    }


def _share(us: float, spots: Hotspots) -> str:
    return f"{100 * us / spots.total_us:.1f} %"


def _verdict(met: bool) -> str:
    return "[green]met[/green]" if met else "[red]missed[/red]"


def _cpu_model() -> str:
    try:
        lines: Sequence[str] = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
