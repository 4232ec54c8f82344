"""The evidence of comparisons over the examples, as a picture; the only importer of matplotlib.

Drawn without pyplot, which keeps figures in a global list and looks for a screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stream.standings import Standing

WIDTH_INCHES, HEIGHT_INCHES, DPI = 9.0, 3.6, 120


def save(standings: Sequence[Standing], file: Path) -> None:
    """Draw one panel for each challenger, as PNG whatever the file is called."""
    figure = draw(standings)
    figure.savefig(file, format="png", dpi=DPI)


def draw(standings: Sequence[Standing]) -> Figure:
    """Draw how much lower the loss is, within its confidence sequence, and where the gate opened.

    What lies above the black line speaks for the challenger; once the lower bound does, it is
    proven. The gate asks one side only, and so opens a little earlier.
    """
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES * len(standings)), layout="constrained")
    panels = figure.subplots(len(standings), 1, squeeze=False)[:, 0]
    for panel, standing in zip(panels, standings, strict=True):
        _draw(panel, standing)
    return figure


def _draw(panel: Axes, standing: Standing) -> None:
    evidence = standing.evidence
    points = [*evidence.curve, evidence.point()]
    examples = [point.n for point in points]
    means, lows, highs = ([getattr(p, name) for p in points] for name in ("mean", "low", "high"))
    bound = f"confidence sequence, {1.0 - evidence.alpha:.4g}"
    panel.fill_between(examples, lows, highs, alpha=0.25, label=bound)
    panel.plot(examples, means, label="loss is lower by")
    panel.axhline(
        evidence.margin, color="black", linewidth=0.8, label=f"to beat: {evidence.margin:g}"
    )
    if evidence.passed_at is not None:
        gate = f"gate opened after {evidence.passed_at:,}"
        panel.axvline(evidence.passed_at, color="green", linestyle="--", label=gate)
    # The first intervals span everything: what is drawn is what they come to.
    settled = points[len(points) // 3 :]
    edges = [evidence.margin, *(p.low for p in settled), *(p.high for p in settled)]
    pad = 0.05 * (max(edges) - min(edges)) or 0.05
    panel.set_ylim(min(edges) - pad, max(edges) + pad)
    panel.set_title(
        f"{standing.name} ({standing.pipeline}) against {standing.champion}", fontsize=9
    )
    panel.set_xlabel("examples that both predicted")
    panel.set_ylabel(f"{standing.loss} loss, lower by")
    panel.legend(fontsize=8, loc="best")
