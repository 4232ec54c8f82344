"""`driftline challenger`, `promote` and `compare`: learners beside the champion."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, notes, out, print_json
from stream.cli.control import TimeoutOption, WhyOption, give_command
from stream.cli.errors import CommandError
from stream.cli.evidence_plot import BOUND, MEAN, plot

if TYPE_CHECKING:
    from stream.settings import Settings
    from stream.standings import Standing

app = typer.Typer(no_args_is_help=True, help="Let other learners learn beside the champion.")

ShadowOption = Annotated[
    float | None,
    typer.Option("--shadow", min=0, max=1, help="Part of the events that it scores unserved."),
]
ShareOption = Annotated[
    float | None,
    typer.Option("--share", min=0, max=1, help="Part of the entities that it decides for."),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The challenger's name.")]


@app.command(no_args_is_help=True)
def add(
    name: NameArgument,
    config: ConfigOption = None,
    pipeline: Annotated[
        str | None,
        typer.Option("--pipeline", metavar="P", help="Default: model.pipeline."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Default: model.seed.")] = None,
    from_now: Annotated[
        bool,
        typer.Option(
            "--from-now/--from-start", help="Learn from now on, or all examples since the first."
        ),
    ] = False,
    shadow: ShadowOption = None,
    share: ShareOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Add a challenger: a fresh learner that folds the same examples as the champion.

    From the start of the log it first catches up, in the time that the champion leaves; what is
    compared are the examples after that. `driftline compare` shows how it does. With --shadow and
    --share it scores live traffic once it has caught up and learned challengers.serve_after_n.

    For example:

      driftline challenger add forest --pipeline adaptive-random-forest -c fraud

      driftline challenger add forest --pipeline adaptive-random-forest --shadow 0.1 -c fraud
    """
    arguments = {
        "name": name, "pipeline": pipeline, "seed": seed, "begin": "now" if from_now else "start",
        "shadow": shadow or 0.0, "share": share or 0.0,
    }  # fmt: skip
    give_command(config, "challenger add", arguments, why, timeout, as_json=as_json)


@app.command(no_args_is_help=True)
def drop(
    name: NameArgument,
    config: ConfigOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Drop a challenger, with what it has learned.

    Example: driftline challenger drop forest -c fraud
    """
    give_command(config, "challenger drop", {"name": name}, why, timeout, as_json=as_json)


@app.command(no_args_is_help=True)
def traffic(
    name: NameArgument,
    config: ConfigOption = None,
    shadow: ShadowOption = None,
    share: ShareOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Give a challenger more or less of the live traffic; what is not named stays as it is.

    Scores in shadow go to a topic of their own, for a sample of the events. A share is of entities,
    by a hash of theirs: the challenger decides for them, on every worker, as long as its share does
    not shrink. Published decisions do not change.

    Example: driftline challenger traffic forest --share 0.05 -c fraud --why "good in shadow"
    """
    if shadow is None and share is None:
        raise CommandError("give --shadow or --share, or both")
    arguments = {"name": name, "shadow": shadow, "share": share}
    give_command(config, "challenger traffic", arguments, why, timeout, as_json=as_json)


@app.command("list")
def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the challengers: what they are and how far they have come.

    Example: driftline challenger list -c fraud
    """
    standings = _standings(load(config))
    if as_json:
        print_json([_report(standing, with_curve=False) for standing in standings])
        return
    table = Table(box=None)
    for title in (
        "name",
        "pipeline",
        "seed",
        "state",
        "position",
        "champion at",
        "by",
        "size",
        "traffic",
    ):
        right = title in ("seed", "position", "champion at", "size")
        table.add_column(title, justify="right" if right else "left")
    for standing in standings:
        fresh = standing.segment.fresh
        table.add_row(
            standing.name, standing.pipeline, str(fresh.seed if fresh else ""), standing.state,
            f"{standing.position:,}", f"{standing.champion_position:,}", standing.who,
            f"{standing.n_bytes / 1024:,.0f} kB" if standing.n_bytes else "", _traffic(standing),
        )  # fmt: skip
    out().print(table if standings else "there is no challenger: `driftline challenger add NAME`")


def promote(
    name: NameArgument,
    config: ConfigOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also against what the gate objects; it is audited.")
    ] = False,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Make a challenger the champion, on every worker within a second.

    It is refused while the gate objects: no evidence yet that it is better, or a guard rail.
    `driftline rollback` goes back to the old champion.

    Example: driftline promote forest -c fraud --why "a month of evidence"
    """
    arguments = {"name": name, "force": force}
    give_command(config, "promote", arguments, why, timeout, as_json=as_json)


def compare(
    config: ConfigOption = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Only this challenger.")
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="FILE", help="Draw the evidence to a picture as well."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the challengers with the champion, on examples that both predicted, then learned.

    The interval holds at every moment together: looking often does no harm. The e-value is how
    many times a bet that the challenger is no better has been refuted; at 1/alpha the gate opens.
    As of when the worker last saved them (versions.interval). --png needs matplotlib: `pip install
    'driftline[plot]'`.

    For example:

      driftline compare -c fraud

      driftline compare --name forest --png forest.png -c fraud
    """
    settings = load(config)
    standings = _standings(settings)
    if name is not None:
        known = ", ".join(standing.name for standing in standings) or "none"
        standings = [standing for standing in standings if standing.name == name]
        if not standings:
            raise CommandError(f"there is no challenger {name!r}; there are: {known}")
    if png is not None:
        _save(standings, png)
    if as_json:
        print_json([_report(standing, with_curve=True) for standing in standings])
        return
    if not standings:
        out().print("there is no challenger: `driftline challenger add NAME`")
        return
    out().print(_table(standings))
    for standing in standings:
        _draw(standing)


def _save(standings: list[Standing], file: Path) -> None:
    drawn = [standing for standing in standings if standing.evidence.curve]
    if not drawn:
        raise CommandError("--png: no challenger has been compared yet: there is nothing to draw")
    try:
        from stream.cli.evidence_png import save
    except ImportError as error:
        raise CommandError(
            f"--png needs matplotlib ({error}): pip install 'driftline[plot]'"
        ) from None
    save(drawn, file)
    notes().print(f"drawn to {file}", style="dim", markup=False)


def _standings(settings: Settings) -> list[Standing]:
    from stream.cli.store import ask_store
    from stream.standings import STANDINGS, decode_standings

    data = ask_store(settings, lambda store: store.read_state("learn.0", STANDINGS))
    return decode_standings(data or b"[]")


def _table(standings: list[Standing]) -> Table:
    table = Table(box=None)
    for title in ("challenger", "loss", "examples", "champion's", "its own", "lower by", "interval",
                  "e-value", "needed", "gate"):  # fmt: skip
        left = title in ("challenger", "loss", "gate")
        table.add_column(title, justify="left" if left else "right")
    for standing in standings:
        evidence = standing.evidence
        n = evidence.n or 1
        low, high = evidence.interval()
        gate = "open" if not standing.objections else "closed"
        known = (
            f"{evidence.champion_loss / n:.4f}", f"{evidence.challenger_loss / n:.4f}",
            f"{evidence.advantage:+.4f}", f"{low:+.4f} to {high:+.4f}",
            _e_value(evidence.log10_e), f"{1 / evidence.alpha:g}", gate,
        )  # fmt: skip
        rest = known if evidence.n else ("", "", "", "", "", "", standing.state)
        table.add_row(standing.name, standing.loss, f"{evidence.n:,}", *rest)
    return table


def _draw(standing: Standing) -> None:
    console, evidence = out(), standing.evidence
    when = datetime.fromtimestamp(standing.time, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    console.print(
        f"\n{standing.name} ({standing.pipeline}) against {standing.champion}, {standing.state}; "
        f"it stands at {standing.position:,} of {standing.champion_position:,} ({when})",
        markup=False, highlight=False,
    )  # fmt: skip
    if traffic := _traffic(standing):
        console.print(f"  {traffic}", markup=False, highlight=False)
    for objection in standing.objections:
        console.print(f"  - {objection}", markup=False, highlight=False)
    for segment, advantage in sorted(standing.advantages.items()):
        console.print(f"  segment {segment}: lower by {advantage:+.4f}", markup=False)
    if not evidence.curve:
        return
    console.print(f"  how much lower its loss is ({MEAN}), and the interval ({BOUND}):")
    for line in plot(evidence.curve):
        console.print(f"  {line}", markup=False, highlight=False, no_wrap=True)


def _traffic(standing: Standing) -> str:
    kinds = (("shadow", "events", standing.shadow), ("decides", "entities", standing.share))
    said = ", ".join(f"{how} {part * 100:g} % of {what}" for how, what, part in kinds if part)
    return f"{said}{'' if standing.is_ready else ', once it is ready'}" if said else ""


def _e_value(log10_e: float) -> str:
    return f"1e{log10_e:+.0f}" if abs(log10_e) > 4 else f"{10.0**log10_e:.3g}"


def _report(standing: Standing, *, with_curve: bool) -> dict[str, Any]:
    import msgspec

    evidence = standing.evidence
    low, high = evidence.interval()
    n = evidence.n or 1
    report: dict[str, Any] = msgspec.to_builtins(standing)
    curve = report.pop("evidence")["curve"]
    report |= {
        "examples": evidence.n,
        "alpha": evidence.alpha,
        "margin": evidence.margin,
        "champion_loss": evidence.champion_loss / n,
        "challenger_loss": evidence.challenger_loss / n,
        "advantage": evidence.advantage,
        "interval": [low, high],
        "log10_e": evidence.log10_e,
        "passed_at": evidence.passed_at,
    }
    return report | ({"curve": curve} if with_curve else {})
