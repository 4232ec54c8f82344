"""What the demo showed: the summary for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.demo_state import DemoState, DriftNote, Ranking, VersionCut, shown_time
from stream.demo_view import FROZEN, LIVE

SCHEMA = 1
PERCENTILES = ("p50", "p95", "p99")
N_DRIFTS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """Live against frozen over a stretch of event time."""

    name: str
    n: int
    live: Ranking
    frozen: Ranking


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures of one demo."""

    dataset: str
    unit: str
    seconds: float
    interrupted: bool
    events: int
    scores: int
    alerts: int
    labels: int
    learned: int
    dead_letters: dict[str, int]
    events_per_s: float
    latency_ms: dict[str, float]
    frozen_since: str | None
    phases: Sequence[PhaseResult]
    drifts: Sequence[DriftNote]
    versions: Sequence[VersionCut]

    def as_dict(self) -> dict[str, Any]:
        """Give the same as JSON types, with a schema number."""
        return {"schema": SCHEMA, **asdict(self)}


def summarise(state: DemoState, dataset: str, seconds: float, *, interrupted: bool) -> Summary:
    """Sum up what was seen; `seconds` is how long the demo has played."""
    latency = state.latency_ms(recent=False)
    frozen_at = state.rival.frozen_at_s
    phases = []
    for phase in state.feed.phases:
        n, live, frozen = state.duel.between(phase.begin_s, phase.end_s)
        phases.append(PhaseResult(phase.name, n, live, frozen))
    return Summary(
        dataset=dataset,
        unit=state.feed.unit,
        seconds=round(seconds, 1),
        interrupted=interrupted,
        events=state.progress.n_events,
        scores=state.n_scores,
        alerts=state.n_alerts,
        labels=state.progress.n_labels,
        learned=state.n_learned,
        dead_letters=dict(state.dead_letters),
        events_per_s=round(state.progress.n_events / max(seconds, 1e-9), 1),
        latency_ms={} if latency is None else dict(zip(PERCENTILES, latency, strict=True)),
        frozen_since=None if frozen_at is None else shown_time(frozen_at),
        phases=phases,
        drifts=tuple(state.drifts),
        versions=tuple(state.versions),
    )


def render_summary(summary: Summary) -> RenderableType:
    """Draw the summary for people."""
    parts: list[RenderableType] = [_counts(summary), Text(), _phases(summary)]
    if summary.drifts:
        parts.append(_drifts(summary))
    return Group(*parts)


def _counts(summary: Summary) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    dead = ", ".join(f"{n:,} {reason}" for reason, n in sorted(summary.dead_letters.items()))
    table.add_row(
        "events",
        f"{summary.events:,} {summary.unit} in {summary.seconds:.0f} s"
        f" ({summary.events_per_s:,.0f}/s)",
    )
    table.add_row("scores", f"{summary.scores:,}, of which {summary.alerts:,} alerts")
    table.add_row("labels", f"{summary.labels:,} sent, {summary.learned:,} learned")
    table.add_row("dead letters", dead or "0")
    latency = "  ".join(f"{name} {value:.0f} ms" for name, value in summary.latency_ms.items())
    table.add_row("event to score", latency or "no scores")
    newest = f", newest {summary.versions[-1].id}" if summary.versions else ""
    table.add_row("versions", f"{len(summary.versions)} cut{newest}")
    return table


def _phases(summary: Summary) -> RenderableType:
    since = f"frozen since {summary.frozen_since}" if summary.frozen_since else "never frozen"
    table = Table(
        title=f"the live model against its frozen twin ({since})",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("phase", no_wrap=True)
    table.add_column(summary.unit, justify="right")
    for figure in ("AUC", "AP"):
        table.add_column(f"{figure} live", justify="right", style=LIVE, no_wrap=True)
        table.add_column("frozen", justify="right", style=FROZEN, no_wrap=True)
    for phase in summary.phases:
        table.add_row(
            phase.name,
            f"{phase.n:,}",
            _figure(phase.live.auc),
            _figure(phase.frozen.auc),
            _figure(phase.live.ap),
            _figure(phase.frozen.ap),
        )
    return table


def _drifts(summary: Summary) -> RenderableType:
    n_more = len(summary.drifts) - N_DRIFTS_SHOWN
    more = f", the last {N_DRIFTS_SHOWN}" if n_more > 0 else ""
    table = Table(
        title=f"drift: {len(summary.drifts)} signals{more}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("event time", "level", "direction", "before", "after"):
        table.add_column(name, justify="right" if name in ("before", "after") else "left")
    for drift in summary.drifts[-N_DRIFTS_SHOWN:]:
        table.add_row(
            drift.at, drift.level, drift.direction, f"{drift.before:.2%}", f"{drift.after:.2%}"
        )
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
