"""`driftline evaluate`: how well would it learn? No servers needed."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.alert_tables import (
    AfterOption,
    CostsOption,
    EntityOption,
    TopOption,
    after_seconds,
    alert_value,
    alerts_table,
    later_table,
)
from stream.cli.common import ConfigOption, JsonOption, load, out, print_json, progress_bar
from stream.cli.drift_truth import evaluate_drift
from stream.cli.errors import CommandError
from stream.cli.importance import (
    ImportanceOption,
    explaining_of,
    importance_report,
    importance_table,
)
from stream.cli.produce import (
    FILE,
    AddIdOption,
    LabelDelayEventsOption,
    LabelDelayOption,
    LimitOption,
    schedule_of,
)

if TYPE_CHECKING:
    from stream.alert_value import AlertValue
    from stream.evaluation import Evaluation, Scored
    from stream.explaining import Explaining
    from stream.schedule import LabelSchedule
    from stream.settings import Settings

PROGRESS_EVERY = 500
N_DRIFTS_SHOWN = 20
ERROR_SUFFIX = "_error_max"


def evaluate(
    file: Annotated[Path | None, FILE] = None,
    *,
    config: ConfigOption = None,
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="NAME|MODULE:FUNCTION", help="Another pipeline than the configured."),
    ] = None,
    frozen_after: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Compare with a model that stops learning after this share of the rows.",
        ),
    ] = None,
    drift_truth: Annotated[
        bool,
        typer.Option(
            "--drift-truth",
            help="Instead of a file, simulate streams whose change points are known, and tell how "
            "the drift watches of [drift] do on them.",
        ),
    ] = False,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Streams of each kind, for --drift-truth.")
    ] = 30,
    entity: EntityOption = None,
    top: TopOption = None,
    costs: CostsOption = None,
    after: AfterOption = None,
    importance: ImportanceOption = False,
    limit: LimitOption = None,
    label_delay: LabelDelayOption = "0s",
    label_delay_events: LabelDelayEventsOption = None,
    add_id: AddIdOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score each row of a file, then learn from its label when it comes, as a worker would.

    Every score is made before its label is known, by what had been learned by then. Total metrics
    cover all rows, rolling ones the last model.rolling_n; baselines repeat the previous label,
    always say the commonest one, or give every event the rate of positives as its score (no skill):
    a model that does not beat them has learned nothing.

    For example:

      driftline evaluate elec2.csv.gz -c elec2 --add-id --frozen-after 0.1

      driftline evaluate transactions.csv.gz -c fraud --label-delay 7d --pipeline hoeffding-tree

      driftline evaluate --drift-truth --seeds 5
      driftline evaluate transactions.csv.gz -c fraud --label-delay 7d --top 100 --costs 5:TX_AMOUNT

      driftline evaluate transactions.csv.gz -c fraud --label-delay 7d --top 100 --after 30d
    """
    if drift_truth:
        evaluate_drift(config, n_seeds=seeds, as_json=as_json)
        return
    if file is None:
        raise CommandError("name a file of events, or give --drift-truth")
    settings = load(config, None if pipeline is None else {"model": {"pipeline": pipeline}})
    freeze_at = _freeze_at(file, frozen_after, limit)
    schedule = schedule_of(settings, label_delay, label_delay_events)
    alerts = alert_value(settings, entity, top, costs)
    explaining = explaining_of(settings) if importance else None
    started = time.perf_counter()
    evaluation = _evaluation(settings, schedule, freeze_at, alerts, after, explaining)
    _run(evaluation, file, settings, limit, add_id=add_id, quiet=as_json)
    report = _report(evaluation, settings, time.perf_counter() - started, alerts)
    if explaining is not None:
        report["importance"] = importance_report(explaining.importance.means(0.0), settings)
    if as_json:
        print_json(report)
    else:
        _print(report, settings)


def _evaluation(
    settings: Settings,
    schedule: LabelSchedule[Scored],
    freeze_at: int | None,
    alerts: AlertValue | None,
    after: str | None,
    explaining: Explaining | None,
) -> Evaluation:
    from stream.evaluation import Evaluation
    from stream.learners import new_learner

    after_s = None if after is None else after_seconds(settings, after)
    learner = new_learner(settings)
    return Evaluation(settings, learner, schedule, freeze_at, alerts, after_s, explaining)


def _run(
    evaluation: Evaluation,
    file: Path,
    settings: Settings,
    limit: int | None,
    *,
    add_id: bool,
    quiet: bool,
) -> None:
    from stream.rows import open_rows

    with (
        open_rows(file, settings, add_id=add_id) as source,
        progress_bar(unit="rows", quiet=quiet) as bar,
    ):
        task = bar.add_task("evaluating", total=limit or source.n_bytes, count=0)
        for n in evaluation.run(itertools.islice(source, limit)):
            if n % PROGRESS_EVERY == 0:
                bar.update(task, completed=n if limit else source.n_bytes_read, count=n)


def _freeze_at(file: Path, share: float | None, limit: int | None) -> int | None:
    from stream.rows import STDIN, count_rows

    if share is None:
        return None
    if file == STDIN and limit is None:
        raise CommandError("--frozen-after is a share of the rows: give --limit with stdin")
    n_rows = limit if file == STDIN else count_rows(file)
    return int(share * min(n_rows or 0, limit or n_rows or 0))


def _report(
    evaluation: Evaluation, settings: Settings, seconds: float, alerts: AlertValue | None
) -> dict[str, Any]:
    import msgspec

    learner = evaluation.learner
    report: dict[str, Any] = {
        "pipeline": settings.model.pipeline,
        "task": str(settings.model.task),
        "rows": evaluation.n_rows,
        "events": evaluation.n_events,
        "learned": learner.n_learned,
        "invalid": dict(evaluation.invalid),
        "seconds": round(seconds, 3),
        "events_per_s": round(evaluation.n_events / seconds, 1) if seconds else 0.0,
        "version": learner.version_id,
        "fingerprint": learner.fingerprint(),
        "metrics": learner.metrics(),
        "drifts": [
            msgspec.to_builtins(signal) | {"subject": signal.subject}
            for signal in evaluation.drifts
        ],
        "alarms": _alarms(evaluation),
    }
    if alerts is not None:
        report["alerts"] = alerts.values()
    if evaluation.later is not None:
        report["later"] = {"after_s": evaluation.later.after, **evaluation.later.values()}
    if evaluation.frozen is not None:
        frozen, learning = evaluation.frozen.values()
        report["frozen"] = {
            "after": evaluation.frozen.after,
            "frozen": frozen["total"],
            "learning": learning["total"],
        }
    return report


def _alarms(evaluation: Evaluation) -> dict[str, Any]:
    # What a false-alarm budget is about: confirmations of an error that rose, in its two units.
    alarms = [s for s in evaluation.drifts if s.level == "confirmed" and s.direction == "worsened"]
    n, days = len(alarms), evaluation.days
    return {
        "n": n,
        "examples_each": evaluation.learner.n_learned / n if n else None,
        "days_each": days / n if n and days is not None else None,
    }


def _print(report: dict[str, Any], settings: Settings) -> None:
    console = out()
    console.print(
        f"{report['pipeline']} ({report['task']}): {report['events']:,} events, "
        f"{report['learned']:,} learned, {report['events_per_s']:,.0f} events/s, "
        f"{report['version']}, fingerprint {report['fingerprint']}"
    )
    for reason, n in report["invalid"].items():
        console.print(f"  not used, {reason}: {n:,}", style="yellow")
    console.print(metrics_table(report["metrics"]))
    if "later" in report:
        console.print(later_table(report["later"]))
    if "alerts" in report:
        console.print(alerts_table(report["alerts"]))
    if "importance" in report:
        console.print(importance_table(report["importance"], settings))
    if "frozen" in report:
        console.print(_frozen_table(report["frozen"]))
    _print_drifts(report["drifts"], report["alarms"])


def metrics_table(metrics: dict[str, Any]) -> Table:
    """Lay the metrics out: total, rolling and what the baselines reach."""
    total, rolling = metrics["total"], metrics["rolling"]
    baselines = metrics["baselines"]
    table = Table("metric", box=None)
    has_no_skill = any(name.startswith("no_skill_") for name in baselines)
    titles = ["total", "rolling", "no change", "commonest", *["no skill"] * has_no_skill]
    for title in titles:
        table.add_column(title, justify="right")
    commonest = "mean" if "mae" in total else "majority"
    for name in _shown({**total, **rolling}):
        table.add_row(
            name,
            _cell(total, name),
            _cell(rolling, name),
            _cell(baselines, f"no_change_{name}"),
            _cell(baselines, f"{commonest}_{name}"),
            *[_cell(baselines, f"no_skill_{name}")] * has_no_skill,
        )
    return table


def _shown(values: dict[str, float]) -> list[str]:
    return [name for name in values if not name.endswith(ERROR_SUFFIX)]


def _cell(values: dict[str, float], name: str) -> str:
    if name not in values:
        return ""
    # Areas over all time come from a histogram: its error bound belongs to the number.
    error = values.get(name + ERROR_SUFFIX)
    return f"{values[name]:.4f}" + (f" ±{error:.4f}" if error is not None else "")


def _frozen_table(frozen: dict[str, Any]) -> Table:
    table = Table(f"after {frozen['after']:,} learned", box=None)
    table.add_column("learning", justify="right")
    table.add_column("frozen", justify="right")
    for name in _shown(frozen["learning"]):
        table.add_row(name, _cell(frozen["learning"], name), _cell(frozen["frozen"], name))
    return table


def _print_drifts(drifts: list[dict[str, Any]], alarms: dict[str, Any]) -> None:
    console = out()
    rate = ""
    if alarms["n"]:
        days = "" if alarms["days_each"] is None else f" or {alarms['days_each']:,.1f} days"
        rate = (
            f", {alarms['n']} confirmed and worsened: one in {alarms['examples_each']:,.0f} "
            f"examples{days}"
        )
    console.print(f"drift signals: {len(drifts)}{rate}")
    for signal in drifts[:N_DRIFTS_SHOWN]:
        style = "red" if signal["level"] == "confirmed" else "yellow"
        console.print(
            f"  at {signal['position']:,}: {signal['level']}, {signal['direction']}, "
            f"{signal['subject']} {signal['before']:.4f} to {signal['after']:.4f}",
            style="green" if signal["direction"] == "improved" else style,
        )
    if len(drifts) > N_DRIFTS_SHOWN:
        console.print(f"  and {len(drifts) - N_DRIFTS_SHOWN} more; --json has all")
