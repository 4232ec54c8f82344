"""`driftline evaluate --drift-truth`: how the drift watches do where the truth is known."""

from __future__ import annotations

import os
from typing import Any

from rich.table import Table

from stream.cli.common import load, out, print_json, progress_bar

DETECTS_NOTHING = "-"


def evaluate_drift(config: str | None, *, n_seeds: int, as_json: bool) -> None:
    """Run the streams and print the tables; without a configuration [drift] is as by default."""
    from stream.drift_section import DriftSettings
    from stream.drift_truth import DriftTruth
    from stream.learners import drift_settings
    from stream.settings import DEFAULT_FILE

    is_configured = config is not None or DEFAULT_FILE.exists() or "DRIFTLINE_CONFIG" in os.environ
    drift = load(config).drift if is_configured else DriftSettings()
    truth = DriftTruth(drift_settings(drift), n_seeds)
    with progress_bar(unit="streams", quiet=as_json) as bar:
        task = bar.add_task("watching", total=truth.n_streams, count=0)
        for n in truth.run():
            bar.update(task, completed=n, count=n)
    report = truth.report()
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    console = out()
    scope = "all and segments together" if report["segments"] else "no segments"
    console.print(
        f"{report['detector']}, {scope}; one false alarm in {report['budget']:,.0f} examples or "
        f"{report['budget_days']:,.1f} days allowed, {report['seeds']} streams of each kind; "
        "delays are in examples"
    )
    table = Table("stream", "monitor", box=None)
    for title in ("changes", "missed", "delay", "delay p90", "false alarms", "quiet examples"):
        table.add_column(title, justify="right")
    for row in report["rows"]:
        cells = [row["changes"], row["missed"], row["delay_median"], row["delay_p90"]]
        cells += [row["false_alarms"], row["quiet_examples"]]
        table.add_row(row["stream"], row["monitor"], *map(_cell, cells))
    console.print(table)
    table = Table("monitor", box=None)
    for title in ("false alarms", "allowed", "of the budget", "one in examples", "in days"):
        table.add_column(title, justify="right")
    for row in report["budgets"]:
        table.add_row(
            row["monitor"], _cell(row["false_alarms"]), f"{row['allowed']:.1f}",
            f"{row['of_budget']:,.2f}", _number(row["examples_each"], 0),
            _number(row["days_each"], 1),
        )  # fmt: skip
    console.print(table)


def _number(value: float | None, n_decimals: int) -> str:
    return DETECTS_NOTHING if value is None else f"{value:,.{n_decimals}f}"


def _cell(value: int | None) -> str:
    return DETECTS_NOTHING if value is None else f"{value:,}"
