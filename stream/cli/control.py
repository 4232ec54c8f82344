"""`driftline rollback`, `restore`, `freeze`, `thaw`, `threshold`, `audit`: steer a live learner."""

from __future__ import annotations

import getpass
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, out, print_json
from stream.cli.errors import EXIT_FAILED, CommandError

if TYPE_CHECKING:
    from stream.messages import AuditRecord

WhyOption = Annotated[str, typer.Option("--why", help="Your reason, for the audit.")]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long to wait for the outcome.")
]

VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="Such as v1-45312, or a tag.")
]
ReplayOption = Annotated[
    bool, typer.Option("--replay", help="Fold the examples since that version again.")
]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="WHAT",
        help="With --replay, leave out: offsets=A..B (of the examples topic), time=FROM..TO "
        "(of the events, ISO 8601), events=ID,ID or events=@FILE (an id a line), "
        "entity=FIELD:VALUE (for good, also after later rollbacks), segment=FEATURE:VALUE. "
        "Ranges hold their start and not their end. May be repeated.",
    ),
]

threshold_app = typer.Typer(no_args_is_help=True, help="Set the decision threshold.")


def rollback(
    version: VersionArgument,
    config: ConfigOption = None,
    replay: ReplayOption = False,
    without: WithoutOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Go back to a state that the champion, or one before it, was in; on every worker in a second.

    It goes on learning from the present position, so what was learned since is gone; with --replay
    it first folds the examples since then, while the old champion serves. What is left out stays
    out: also labels that come later for it. The version must not have learned any of it: v1-0, the
    untrained learner, never has. What is given up is stored as it was: `driftline restore`.

    For example:

      driftline rollback v1-45312 -c fraud --why "labels of Tuesday are wrong"

      driftline rollback v1-45312 --replay --without offsets=45400..46200 -c fraud

      driftline rollback v1-0 --replay --without entity=CUSTOMER_ID:596 -c fraud
    """
    arguments = _brought_back(config, version, replay=replay, without=without)
    give_command(config, "rollback", arguments, why, timeout, as_json=as_json)


def restore(
    version: VersionArgument,
    config: ConfigOption = None,
    replay: ReplayOption = False,
    without: WithoutOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Bring back a version that was given up: undo a rollback; on every worker in a second.

    For stored versions that are not of the champion's line; `driftline rollback` is for those that
    are. It goes on learning from the present position; with --replay it first folds the examples
    since then. Frozen or not, and the threshold, stay as they are. A version that remembers an
    erased subject is refused.

    For example:

      driftline restore v1-51200 -c fraud --why "the labels were right"

      driftline restore v1-51200 --replay -c fraud
    """
    arguments = _brought_back(config, version, replay=replay, without=without)
    give_command(config, "restore", arguments, why, timeout, as_json=as_json)


def _brought_back(
    config: str | None, version: str, *, replay: bool, without: list[str] | None
) -> dict[str, Any]:
    if without and not replay:
        raise CommandError("--without needs --replay: it says what is not folded again")
    arguments: dict[str, Any] = {"version": _untagged(config, version), "replay": replay}
    if without:
        from stream.cli.without import exclusion

        arguments["without"] = exclusion(load(config), without)
    return arguments


def freeze(
    config: ConfigOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Let learning stand still; scoring goes on with the model as it is.

    Examples wait in their log, and are learned after `driftline thaw`.

    Example: driftline freeze -c fraud --why "labels look wrong"
    """
    give_command(config, "freeze", {}, why, timeout, as_json=as_json)


def thaw(
    config: ConfigOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Let learning go on where it stood still, with the examples that came meanwhile.

    Example: driftline thaw -c fraud
    """
    give_command(config, "thaw", {}, why, timeout, as_json=as_json)


@threshold_app.command("set", no_args_is_help=True)
def set_(
    threshold: Annotated[float, typer.Argument(min=0, max=1, help="Scores from it on alert.")],
    config: ConfigOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Set the decision threshold, on every worker within a second; wins over model.threshold.

    A rollback leaves it as it is. Decisions that were published do not change.

    Example: driftline threshold set 0.8 -c fraud --why "too many alerts"
    """
    give_command(config, "threshold", {"threshold": threshold}, why, timeout, as_json=as_json)


@threshold_app.command(no_args_is_help=True)
def budget(
    config: ConfigOption = None,
    share: Annotated[
        float | None, typer.Option("--share", help="Of events, such as 0.005, may alert.")
    ] = None,
    per_hour: Annotated[
        float | None, typer.Option("--per-hour", help="Alerts in an hour of event time.")
    ] = None,
    window_n: Annotated[int, typer.Option(min=100, help="Scores that it is kept over.")] = 50_000,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Keep a budget of alerts: the threshold moves with the scores, on every worker alike.

    It follows the scores of events whose labels (or own negatives) have come, and begins to move
    after a hundredth of the window.

    Example: driftline threshold budget --share 0.005 -c fraud --why "what the team can look at"
    """
    if (share is None) == (per_hour is None):
        raise CommandError("give either --share or --per-hour")
    limit = {"rule": "share", "share": share} if share else {"rule": "hourly", "per_hour": per_hour}
    rule = {**limit, "window_n": window_n}
    give_command(config, "threshold", {"threshold": rule}, why, timeout, as_json=as_json)


@threshold_app.command(no_args_is_help=True)
def cost(
    false_positive: Annotated[float, typer.Argument(help="What an alert on a negative costs.")],
    false_negative: Annotated[float, typer.Argument(help="What a missed positive costs.")],
    config: ConfigOption = None,
    why: WhyOption = "",
    timeout: TimeoutOption = "60s",
    as_json: JsonOption = False,
) -> None:
    """Alert where silence is expected to cost more than an alert; takes scores for probabilities.

    Example: driftline threshold cost 5 95 -c fraud
    """
    rule = {"rule": "cost", "false_positive": false_positive, "false_negative": false_negative}
    give_command(config, "threshold", {"threshold": rule}, why, timeout, as_json=as_json)


def audit(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show the newest N.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List who did what, the newest last: commands, and versions that workers refused.

    Example: driftline audit -c fraud
    """
    from stream.commands import distinct
    from stream.kafka_log import open_log
    from stream.topics import AUDIT

    settings = load(config)
    with open_log(settings.kafka) as log:
        batches = log.read(AUDIT.full_name(settings.app))
        records = list(distinct(record.value or b"" for batch in batches for record in batch))
    records = records[-limit:]
    if as_json:
        print_json([_as_dict(record) for record in records])
        return
    table = Table(box=None)
    for title in ("when", "who", "what", "subject", "outcome", "version", "why", "detail"):
        table.add_column(title)
    for record in records:
        when = datetime.fromtimestamp(record.time, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        outcome = f"{record.outcome} {record.reason}".strip()
        table.add_row(when, record.who, record.what, record.subject, outcome,
                      record.version or "", record.why, record.detail)  # fmt: skip
    out().print(table if records else "nothing has been done yet")


def _untagged(config: str | None, name: str) -> str:
    """Give the version's id: the log of commands is for ever, and a tag may move."""
    from stream.cli.store import ask_store
    from stream.tags import LATEST, is_tag, resolve

    if name != LATEST and not is_tag(name):
        return name
    return ask_store(load(config), lambda store: resolve(store, name))


def give_command(
    config: str | None,
    name: str,
    arguments: dict[str, Any],
    why: str,
    timeout: str,
    *,
    as_json: bool,
) -> None:
    """Give a command to the learn lane, and print its outcome."""
    from stream.commands import give
    from stream.durations import seconds_of
    from stream.kafka_log import open_log, open_publisher
    from stream.messages import Command
    from stream.topics import AUDIT, CONTROL

    settings = load(config)
    try:
        seconds = seconds_of(timeout)
    except ValueError as error:
        raise CommandError(f"--timeout: {error}") from None
    command = Command(
        id=uuid.uuid4().hex, command=name, arguments=arguments, who=getpass.getuser(), why=why,
        time=time.time(),
    )  # fmt: skip
    with open_log(settings.kafka) as log, open_publisher(settings.kafka, linger_ms=0) as publisher:
        publisher.require([topic.full_name(settings.app) for topic in (CONTROL, AUDIT)])
        outcome = give(
            command, app=settings.app, reader=log, writer=publisher, pause=time, timeout=seconds
        )
    if outcome is None:
        raise CommandError(
            f"no answer in {timeout}: no worker has the learn lane now, or it is busy with an "
            f"earlier command. This one ({command.id}) stays in the log and will be applied; "
            "`driftline audit` shows when"
        )
    if as_json:
        print_json(_as_dict(outcome))
    else:
        style = "green" if outcome.outcome == "applied" else "red"
        said = f"{outcome.outcome}: {outcome.detail}"
        out().print(said, style=style, markup=False)
        out().print(f"in force: {outcome.version or 'no version yet'}")
    if outcome.outcome != "applied":
        raise typer.Exit(EXIT_FAILED)


def _as_dict(record: AuditRecord) -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(record)
    return fields
