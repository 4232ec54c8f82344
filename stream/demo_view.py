"""How the demo looks: pure functions from a frame to what rich prints.

A frame is all that is shown at one moment, so that tests render recorded frames and need neither
servers nor a terminal. It fits a terminal of 80 by 24.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream.demo_state import (
    ROLLING_N,
    DemoState,
    DriftNote,
    Point,
    Ranking,
    VersionCut,
    shown_time,
)

WIDTH = 80
FLOW_WIDTH = 34
CHART_HEIGHT = 7
AXIS_WIDTH = 4
BORDER_WIDTH = 4
AUC_LOW = 0.2
N_NEWS = 5

LIVE = "bold green"
FROZEN = "red"
DIM = "bright_black"

# A braille character is 2 by 4 dots: the bit of each, by column and row from the top.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BRAILLE = 0x2800


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that is shown at one moment."""

    title: str
    unit: str
    note: str
    seconds: float
    share: float
    now: str
    change_share: float | None
    n_events: int
    n_scores: int
    n_alerts: int
    n_labels: int
    n_learned: int
    n_dead_letters: int
    events_per_s: float
    scores_per_s: float
    learned_per_s: float
    latency_ms: tuple[float, float, float] | None
    live: Ranking
    frozen: Ranking
    frozen_at: str | None
    curve: Sequence[Point]
    drifts: Sequence[DriftNote]
    versions: Sequence[VersionCut]


def frame_of(state: DemoState, seconds: float) -> Frame:
    """Take what is shown now."""
    feed, progress = state.feed, state.progress
    live, frozen = state.duel.rolling(ROLLING_N)
    events_per_s, scores_per_s, learned_per_s = state.rates()
    change = feed.change_s
    frozen_at = state.rival.frozen_at_s
    return Frame(
        title=feed.title,
        unit=feed.unit,
        note=feed.note,
        seconds=seconds,
        share=progress.share,
        now=shown_time(max(progress.event_time_s, feed.begin_s)),
        change_share=None
        if change is None
        else (change - feed.begin_s) / (feed.end_s - feed.begin_s),
        n_events=progress.n_events,
        n_scores=state.n_scores,
        n_alerts=state.n_alerts,
        n_labels=progress.n_labels,
        n_learned=state.n_learned,
        n_dead_letters=state.dead_letters.total(),
        events_per_s=events_per_s,
        scores_per_s=scores_per_s,
        learned_per_s=learned_per_s,
        latency_ms=state.latency_ms(recent=True),
        live=live,
        frozen=frozen,
        frozen_at=None if frozen_at is None else shown_time(frozen_at),
        curve=tuple(state.curve),
        drifts=tuple(state.drifts),
        versions=tuple(state.versions),
    )


def render(frame: Frame, width: int = WIDTH) -> RenderableType:
    """Draw the live view for a console of this width."""
    middle = Table.grid(expand=True)
    middle.add_column(width=FLOW_WIDTH)
    middle.add_column(ratio=1)
    middle.add_row(
        _flow(frame), _duel(frame, max(20, width - FLOW_WIDTH - AXIS_WIDTH - BORDER_WIDTH))
    )
    news = Table.grid(expand=True)
    news.add_column(ratio=1)
    news.add_column(width=29)
    news.add_row(_drifts(frame), _versions(frame))
    return Group(_header(frame), middle, news)


def line(frame: Frame) -> str:
    """Say the same in one line, for logs and pipes."""
    p99 = "-" if frame.latency_ms is None else f"{frame.latency_ms[2]:.0f} ms"
    return (
        f"{frame.seconds:3.0f} s  {frame.now}  events {frame.n_events:,}"
        f" ({frame.events_per_s:,.0f}/s)  learned {frame.n_learned:,}  p99 {p99}"
        f"  AUC live {_figure(frame.live.auc)} frozen {_figure(frame.frozen.auc)}"
        f"  drifts {len(frame.drifts)}  versions {len(frame.versions)}"
    )


def drift_line(drift: DriftNote) -> str:
    """Say what drifted in one line.

    Examples
    --------
    >>> drift_line(DriftNote("2018-05-08 01:00", 0.5, "confirmed", "worsened", "error", 0.03, 0.05))
    'drift confirmed: error worsened 3.0% -> 5.0% (2018-05-08 01:00)'
    """
    return (
        f"drift {drift.level}: {drift.what} {drift.direction} "
        f"{drift.before:.1%} -> {drift.after:.1%} ({drift.at})"
    )


def chart(
    curves: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    width: int,
    height: int,
    low: float,
    high: float,
    mark: float | None = None,
) -> list[Text]:
    """Plot curves in braille dots, a style each; x from 0 to 1, later curves on top.

    Examples
    --------
    >>> rising = [(i / 15, i / 15) for i in range(16)]
    >>> for row in chart([("", rising)], width=8, height=2, low=0, high=1):
    ...     print(row.plain.rstrip())
        ⣀⠤⠒⠉
    ⣀⠤⠒⠉
    """
    cells: list[list[tuple[int, str]]] = [[(0, "")] * width for _ in range(height)]
    for style, points in curves:
        for x, y in _columns(points, 2 * width):
            level = (y - low) / (high - low)
            down = min(4 * height - 1, max(0, round((1 - level) * (4 * height - 1))))
            row, column = down // 4, x // 2
            dots, _ = cells[row][column]
            cells[row][column] = (dots | _DOTS[x % 2][down % 4], style)
    mark_column = None if mark is None else min(width - 1, int(mark * width))
    rows = []
    for row_cells in cells:
        text = Text(no_wrap=True)
        for column, (dots, style) in enumerate(row_cells):
            if dots:
                text.append(chr(_BRAILLE + dots), style)
            else:
                text.append("┊" if column == mark_column else " ", DIM)
        rows.append(text)
    return rows


def _columns(points: Sequence[tuple[float, float]], n: int) -> list[tuple[int, float]]:
    """Take the last value in each dot column, and fill the columns between with lines."""
    by_column = {min(n - 1, max(0, int(x * n))): y for x, y in points}
    known = sorted(by_column.items())
    filled = known[:1]
    for (x0, y0), (x1, y1) in itertools.pairwise(known):
        steps = x1 - x0
        filled += [(x0 + i, y0 + (y1 - y0) * i / steps) for i in range(1, steps + 1)]
    return filled


def _header(frame: Frame) -> RenderableType:
    bar = Table.grid(expand=True, padding=(0, 1))
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    bar.add_column(justify="right", no_wrap=True)
    bar.add_row(
        Text(frame.now, "bold"),
        ProgressBar(total=1.0, completed=frame.share, complete_style="cyan"),
        f"{frame.share:4.0%}  {frame.seconds:3.0f} s",
    )
    return Panel(
        Group(bar, Text(frame.note, DIM, no_wrap=True, overflow="ellipsis")),
        title=f"[bold]Driftline[/bold] · {frame.title}",
        title_align="left",
        border_style="cyan",
    )


def _flow(frame: Frame) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_row("events", f"{frame.n_events:,}", f"{frame.events_per_s:,.0f}/s")
    table.add_row("scored", f"{frame.n_scores:,}", f"{frame.scores_per_s:,.0f}/s")
    table.add_row("labels", f"{frame.n_labels:,}", "")
    table.add_row("learned", f"{frame.n_learned:,}", f"{frame.learned_per_s:,.0f}/s")
    table.add_row("alerts", f"{frame.n_alerts:,}", "")
    dead_style = "bold red" if frame.n_dead_letters else ""
    table.add_row("dead letters", Text(f"{frame.n_dead_letters:,}", dead_style), "")
    table.add_row("", "", "")
    p50, p95, p99 = (
        ("-", "-", "-")
        if frame.latency_ms is None
        else (f"{value:.0f}" for value in frame.latency_ms)
    )
    latency = Text.assemble("p50 ", (p50, "bold"), " p95 ", (p95, "bold"), " p99 ", (p99, "bold"))
    body = Group(table, Text("event to score, ms", DIM), latency)
    return Panel(body, title="flow", title_align="left", border_style=DIM)


def _duel(frame: Frame, chart_width: int) -> RenderableType:
    rows = chart(
        [
            (FROZEN, [(p.share, p.frozen) for p in frame.curve if p.frozen is not None]),
            (LIVE, [(p.share, p.live) for p in frame.curve if p.live is not None]),
        ],
        width=chart_width,
        height=CHART_HEIGHT,
        low=AUC_LOW,
        high=1.0,
        mark=frame.change_share,
    )
    labelled = [Text.assemble((_axis(i), DIM), row) for i, row in enumerate(rows)]
    legend = Table.grid(padding=(0, 1))
    for name, style, figures in (("live", LIVE, frame.live), ("frozen", FROZEN, frame.frozen)):
        legend.add_row(Text(name, style), _bold("AUC", figures.auc), _bold("AP", figures.ap))
    since = f"frozen since {frame.frozen_at}" if frame.frozen_at else "still one: not frozen yet"
    return Panel(
        Group(*labelled, legend),
        title=f"AUC, last {ROLLING_N:,} labels",
        subtitle=Text(since, DIM),
        title_align="left",
        subtitle_align="right",
        border_style=DIM,
    )


def _axis(row: int) -> str:
    values = {0: "1.0", CHART_HEIGHT - 1: f"{AUC_LOW:.1f}"}
    return f"{values.get(row, ''):>3} "


def _drifts(frame: Frame) -> RenderableType:
    lines = [_drift(drift) for drift in frame.drifts[-N_NEWS:]]
    return _news(lines, f"drift ({len(frame.drifts)})", "none yet")


def _drift(drift: DriftNote) -> Text:
    style = ""
    if drift.level == "confirmed":
        style = "bold red" if drift.direction == "worsened" else "bold green"
    return Text.assemble(
        (f"{drift.at[5:]} ", DIM),
        (f"{drift.level} {drift.direction} ", style),
        f"{drift.before:.1%} → {drift.after:.1%}",
    )


def _versions(frame: Frame) -> RenderableType:
    lines = [
        Text.assemble((f"{version.at_s:3.0f} s ", DIM), version.id, (f" {version.reason}", DIM))
        for version in frame.versions[-N_NEWS:]
    ]
    return _news(lines, f"versions ({len(frame.versions)})", "none yet")


def _news(lines: Sequence[Text], title: str, empty: str) -> RenderableType:
    shown = list(lines) or [Text(empty, DIM)]
    # Always as tall, or the picture would jump.
    shown += [Text("")] * (N_NEWS - len(shown))
    for text in shown:
        text.no_wrap, text.overflow = True, "ellipsis"
    return Panel(Group(*shown), title=title, title_align="left", border_style=DIM)


def _bold(name: str, value: float | None) -> Text:
    return Text.assemble((f"{name} ", DIM), (_figure(value), "bold"))


def _figure(value: float | None) -> str:
    return "  -  " if value is None else f"{value:.3f}"
