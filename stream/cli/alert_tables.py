"""What alerts are worth, for `driftline evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.errors import CommandError

if TYPE_CHECKING:
    from stream.alert_value import AlertValue
    from stream.settings import Settings

DAY_S = 86_400.0

EntityOption = Annotated[
    str | None, typer.Option(metavar="FIELD", help="Whose alerts count once a day, with --top.")
]
TopOption = Annotated[
    int | None, typer.Option(min=1, help="Precision among the so many best entities a day.")
]
CostsOption = Annotated[
    str | None,
    typer.Option(
        metavar="ALERT:LOSS",
        help="What an alert costs, and a miss: a number or a field.",
    ),
]
AfterOption = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Rank the events from so long after the first one on, and add up alerts from there: "
        "30d. Needs event.time.",
    ),
]


def after_seconds(settings: Settings, after: str) -> float:
    """Read the time after which events are ranked; say so where they can't be."""
    from models.types import Task
    from stream.durations import seconds_of

    if settings.event.time is None:
        raise CommandError("--after needs event.time")
    if settings.model.task not in (Task.BINARY, Task.ANOMALY):
        raise CommandError(f"--after ranks scores: the task {settings.model.task} has none")
    try:
        return seconds_of(after)
    except ValueError as error:
        raise CommandError(f"--after: {error}") from None


def alert_value(
    settings: Settings, entity: str | None, top: int | None, costs: str | None
) -> AlertValue | None:
    """Make what adds alerts up as the options ask; None if they do not."""
    from models.types import Task
    from stream.alert_value import AlertValue, Costs, entity_reader

    if entity is None and top is None and costs is None:
        return None
    task = settings.model.task
    if task not in (Task.BINARY, Task.ANOMALY):
        raise CommandError(f"--entity, --top and --costs need alerts: the task {task} has none")
    try:
        prices = None if costs is None else Costs.parse(costs)
        by_entity = entity is not None or top is not None
        reader = entity_reader(settings, entity) if by_entity else None
    except ValueError as error:
        raise CommandError(str(error)) from None
    if prices is not None and isinstance(prices.loss, str):
        feature = settings.event.features.get(prices.loss)
        if feature is None or feature.type not in ("number", "integer"):
            raise CommandError(f"--costs: {prices.loss!r} is no feature that is a number")
    return AlertValue(task, entity=reader, top=top or 100, costs=prices)


def alerts_table(values: dict[str, Any]) -> Table:
    """Lay out how many alerts there were, what they found, and what that is worth."""
    table = Table("alerts", "", box=None)
    table.columns[1].justify = "right"
    table.add_row("alerts", f"{values['alerts']:,} of {values['events']:,} events")
    table.add_row("alert rate", f"{values['alert_rate']:.4%}")
    table.add_row("positives found", f"{values['found']:,} of {values['positives']:,}")
    if (cards := values.get("cards")) is not None:
        title = f"card precision, top {cards['top']} a day"
        table.add_row(title, f"{cards['precision']:.4f} over {cards['days']:.0f} days")
        table.add_row("  no skill, perfect", f"{cards['no_skill']:.4f}, {cards['perfect']:.4f}")
    for name, amount in values.get("money", {}).items():
        table.add_row(name.replace("_", " "), f"{amount:,.2f}")
    return table


def later_table(values: dict[str, Any]) -> Table:
    """Lay out how the later events ranked, with what no skill reaches."""
    table = Table(f"from {values['after_s'] / DAY_S:g} days on", "", "no skill", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("events", f"{values['events']:,}", "")
    for name, no_skill in (("roc_auc", 0.5), ("pr_auc", values["no_skill_pr_auc"])):
        if values[name] is not None:
            table.add_row(name, f"{values[name]:.4f}", f"{no_skill:.4f}")
    return table
