"""`driftline importance`: which features have pushed the scores lately, over all workers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, out, print_json
from stream.cli.errors import CommandError
from stream.cli.store import ask_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from models.importance import Means
    from models.stores.redis import RedisStore
    from stream.explaining import Explaining
    from stream.settings import Settings

ImportanceOption = Annotated[
    bool,
    typer.Option(
        "--importance",
        help="Explain the scores that [reasons] asks for, and tell how far each feature has "
        "pushed the last reasons.importance_n of them.",
    ),
]
LOG_ODDS = "log_odds"


def importance(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show how far each feature has pushed the scores lately, whichever way.

    The mean of the absolute contributions of all features, also of those that a decision does not
    name, to the last reasons.importance_n scores of each partition that the champion explained:
    alerts, or all scores with reasons.of = "scores". Partitions count by their explained scores.
    Read from the store, where workers save it every 10 seconds and when they stop; one that took a
    partition over begins it anew.

    For example:

      driftline importance -c fraud

      driftline importance -c fraud --json | jq .features
    """
    settings = load(config)
    explaining_of(settings)
    told = ask_store(settings, _read)
    means = _pooled(told.values())
    report = importance_report(means, settings)
    report |= {"partitions": sorted(told), "time": None if means is None else means.time}
    if as_json:
        print_json(report)
    elif not told:
        out().print(f"no {_explained(settings)} have been explained yet")
    else:
        when = datetime.fromtimestamp(report["time"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        out().print(importance_table(report, settings))
        out().print(f"of {len(told)} partition(s), saved until {when}", style="dim")


def explaining_of(settings: Settings) -> Explaining:
    """Give what chooses scores to explain, or say which setting explains none."""
    reasons, task = settings.reasons, settings.model.task
    if (found := reasons.explaining(task)) is not None:
        return found
    if reasons.of == "none":
        why = 'reasons.of = "none": set it to "alerts" or "scores"'
    elif reasons.model_copy(update={"of": "scores"}).explaining(task) is not None:
        why = f'a {task} task has no alerts: set reasons.of = "scores"'
    else:
        why = f"those of a {task} task have no reasons"
    raise CommandError(f"no scores are explained, so there is nothing to tell: {why}")


def importance_report(means: Means | None, settings: Settings) -> dict[str, Any]:
    """Write importance as programs read it; `n` is 0 while nothing was explained."""
    n, unit, values = (0, None, {}) if means is None else (means.n, means.unit, means.values)
    return {"of": settings.reasons.of, "n": n, "unit": unit or None, "features": values}


def importance_table(report: Mapping[str, Any], settings: Settings) -> Table:
    """Draw it, under the names that people call features by."""
    unit = "log-odds" if report["unit"] == LOG_ODDS else report["unit"]
    title = f"mean push of the last {report['n']:,} {_explained(settings)}, in {unit}"
    table = Table(box=None, title=title, title_justify="left")
    table.add_column("feature")
    table.add_column("mean", justify="right")
    table.add_column("share", justify="right")
    features: dict[str, float] = report["features"]
    total = sum(features.values()) or 1.0
    for name, mean in features.items():
        shown = settings.reasons.names.get(name, name)
        table.add_row(shown, f"{mean:.4g}", f"{mean / total:.1%}")
    return table


def _explained(settings: Settings) -> str:
    return "alerts" if settings.reasons.of == "alerts" else "scores"


async def _read(store: RedisStore) -> dict[int, Means]:
    from stream.explaining import IMPORTANCE, decode_means

    found = {}
    for lane in await store.positions():
        kind, _, partition = lane.partition(".")
        if kind == "score" and (data := await store.read_state(lane, IMPORTANCE)) is not None:
            found[int(partition)] = decode_means(data)
    return found


def _pooled(told: Iterable[Means]) -> Means | None:
    from models.importance import pool

    return pool(told)
