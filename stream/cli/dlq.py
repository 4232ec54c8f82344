"""`driftline dlq`: list, show and replay dead letters."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.common import ConfigOption, JsonOption, load, print_json, progress_bar
from stream.cli.dlq_view import print_letter, print_list, print_replay, report
from stream.cli.errors import CommandError

if TYPE_CHECKING:
    from rich.progress import Progress

    from stream.dead_letters import Letter, Selection
    from stream.kafka_log import Log
    from stream.replays import ReplayBook
    from stream.settings import Settings

Ends = Mapping[int, tuple[int, int]]

app = typer.Typer(no_args_is_help=True, help="List, show and replay dead letters.")

ReasonOption = Annotated[
    list[str] | None, typer.Option("--reason", help="Only of this reason; may be repeated.")
]
TopicOption = Annotated[
    str | None, typer.Option("--topic", help="Only from this topic: events or labels.")
]
PartitionOption = Annotated[
    int | None, typer.Option("--partition", min=0, help="Only from this partition of the topic.")
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Written since: 2h (ago), or 2026-05-01T12:00."),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Written before: as --since.")
]


@app.command("list")
def list_(
    config: ConfigOption = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show the newest N.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the newest last, and count all that are chosen by reason.

    For example:

      driftline dlq list -c fraud

      driftline dlq list -c fraud --reason out_of_range --since 2h --topic events
    """
    from stream.dead_letters import Newest
    from stream.kafka_log import open_log

    settings = load(config)
    selection = _selection(settings, reason, topic, partition, since, until)
    newest = Newest(limit)
    with open_log(settings.kafka) as log, progress_bar(unit="letters", quiet=as_json) as bar:
        newest.add(_letters(settings, log, selection, bar))
        book = _book(settings, log)
    letters = newest.letters()
    if as_json:
        told = [report(letter, book) for letter in letters]
        print_json({"letters": told, "reasons": dict(newest.reasons.most_common())})
    else:
        print_list(letters, newest.reasons, book)


@app.command(no_args_is_help=True)
def show(
    address: Annotated[str, typer.Argument(help="As the list prints it: 3/17.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a dead letter: the original record, where it came from, why it is here, what to do.

    Example: driftline dlq show 3/17 -c fraud
    """
    from stream.kafka_log import open_log

    settings = load(config)
    with open_log(settings.kafka) as log:
        letter = _one(settings, log, address)
        book = _book(settings, log)
    if as_json:
        print_json(report(letter, book))
    else:
        print_letter(letter, book)


@app.command(no_args_is_help=True)
def replay(
    addresses: Annotated[
        list[str] | None, typer.Argument(help="Addresses as the list prints them; or filters.")
    ] = None,
    config: ConfigOption = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All letters.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were replays and failed again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be published.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish the original records again, to the topic, partition and key that they came from.

    After the cause is gone: settings changed and workers restarted. Each is published once,
    however often this runs and wherever it was interrupted; one run at a time. A record that fails
    again becomes a new dead letter, which is left alone without --again.

    For example:

      driftline dlq replay 3/17 3/18 -c fraud

      driftline dlq replay --reason missing_field --since 1d -c fraud --dry-run
    """
    settings = load(config)
    selection = _selection(settings, reason, topic, partition, since, until, addresses)
    if selection.is_everything and not everything:
        raise CommandError("say which letters: addresses, --reason, --topic, --since ...; or --all")
    if as_json and not (yes or dry_run):
        raise CommandError("--json can't ask: add --yes, or --dry-run")
    _replay(settings, selection, again=again, dry_run=dry_run, yes=yes, as_json=as_json)


def _replay(
    settings: Settings,
    selection: Selection,
    *,
    again: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from stream.kafka_log import open_log, open_publisher
    from stream.replays import Chooser, Replayer
    from stream.topics import DEAD_LETTERS, REPLAYS

    with (
        open_log(settings.kafka) as log,
        open_publisher(settings.kafka) as publisher,
        progress_bar(unit="letters", quiet=as_json) as bar,
    ):
        publisher.require([REPLAYS.full_name(settings.app)])
        sources = {name: log.ends(name) for name in _sources(settings)}
        # As far as it goes now: letters that come while we ask are for another time.
        ends = log.ends(DEAD_LETTERS.full_name(settings.app))
        book = _book(settings, log)
        replayer = Replayer(settings.app, reader=log, writer=publisher, book=book, ends=sources)
        n_settled = 0 if dry_run else replayer.settle_doubts()

        def chooser() -> Chooser:
            return Chooser({name: len(ends) for name, ends in sources.items()}, book, again=again)

        trial = chooser()
        reasons: Counter[str] = Counter()
        for letter in _letters(settings, log, selection, bar, ends):
            if trial.takes(letter):
                reasons[letter.body.reason] += 1
        n_published = 0
        if reasons and not dry_run and (yes or _agreed(bar, reasons)):
            chosen = chooser()
            letters = _letters(settings, log, selection, None, ends)
            task = bar.add_task("publishing", total=reasons.total(), count=0)
            for n in replayer.publish(letter for letter in letters if chosen.takes(letter)):
                n_published += n
                bar.update(task, completed=n_published, count=n_published)
    result = {"chosen": dict(reasons), "left": dict(trial.left), "published": n_published}
    if as_json:
        print_json(result | {"settled": n_settled})
    else:
        print_replay(trial, reasons, n_published, n_settled)


def _agreed(bar: Progress, reasons: Counter[str]) -> bool:
    told = ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common())
    if not sys.stdin.isatty():
        raise CommandError(f"nobody is here to ask: --yes publishes {told}")
    bar.stop()
    agreed = typer.confirm(f"Publish {told} again?", err=True)
    bar.start()
    return agreed


def _selection(
    settings: Settings,
    reasons: list[str] | None,
    topic: str | None,
    partition: int | None,
    since: str | None,
    until: str | None,
    addresses: list[str] | None = None,
) -> Selection:
    from stream.dead_letters import HINTS, Address, Selection

    for reason in reasons or ():
        if reason not in HINTS:
            raise CommandError(f"no reason {reason}: there are {', '.join(sorted(HINTS))}")
    source = None
    if topic is not None:
        sources = {name.removeprefix(f"{settings.app}."): name for name in _sources(settings)}
        source = sources.get(topic.removeprefix(f"{settings.app}."))
        if source is None:
            raise CommandError(f"no letters come from {topic}: it is {' or '.join(sources)}")
    try:
        chosen = frozenset(Address.parse(address) for address in addresses or ())
    except ValueError as error:
        raise CommandError(str(error)) from None
    when = _moment("--since", since), _moment("--until", until)
    return Selection(frozenset(reasons or ()), source, partition, *when, chosen)


def _moment(option: str, text: str | None) -> float | None:
    from stream.decoding import seconds_of_iso8601
    from stream.durations import seconds_of
    from stream.messages import InvalidMessage

    if text is None:
        return None
    try:
        return time.time() - seconds_of(text)
    except ValueError:
        pass
    try:
        return seconds_of_iso8601(text)
    except InvalidMessage:
        raise CommandError(
            f"{option}: {text!r} is neither a duration (90s, 2h, 7d) nor an ISO 8601 time"
        ) from None


def _sources(settings: Settings) -> list[str]:
    from stream.topics import EVENTS, LABELS

    return [EVENTS.full_name(settings.app), LABELS.full_name(settings.app)]


def _letters(
    settings: Settings,
    log: Log,
    selection: Selection,
    bar: Progress | None,
    ends: Ends | None = None,
) -> Iterator[Letter]:
    from stream.dead_letters import letter_of
    from stream.topics import DEAD_LETTERS

    name = DEAD_LETTERS.full_name(settings.app)
    if ends is None:
        ends = log.ends(name)
    if selection.addresses:
        ends = _around(selection, ends)
    total = sum(end - first for first, end in ends.values())
    task = bar.add_task(name, total=total, count=0) if bar is not None else None
    n = 0
    for batch in log.read(name, ends):
        n += len(batch)
        for record in batch:
            letter = letter_of(
                record.partition, record.offset, record.timestamp, record.value or b""
            )
            if selection.takes(letter):
                yield letter
        if bar is not None and task is not None:
            bar.update(task, completed=n, count=n)
    if bar is not None and task is not None:
        bar.remove_task(task)


def _around(selection: Selection, ends: Ends) -> Ends:
    """Narrow the ranges down to the addresses that are asked for; all of them must be there."""
    for address in selection.addresses:
        first, end = ends.get(address.partition, (0, 0))
        if not first <= address.offset < end:
            raise CommandError(f"no dead letter at {address}: `driftline dlq list` shows which are")
    found: dict[int, tuple[int, int]] = {}
    for partition, offset in selection.addresses:
        low, high = found.get(partition, (offset, offset + 1))
        found[partition] = min(low, offset), max(high, offset + 1)
    return found


def _one(settings: Settings, log: Log, address: str) -> Letter:
    from stream.dead_letters import Address, Selection

    try:
        selection = Selection(addresses=frozenset({Address.parse(address)}))
    except ValueError as error:
        raise CommandError(str(error)) from None
    found = list(_letters(settings, log, selection, None))
    if not found:
        raise CommandError(f"no dead letter at {address}: `driftline dlq list` shows which are")
    return found[0]


def _book(settings: Settings, log: Log) -> ReplayBook:
    from stream.kafka_log import UnknownTopic
    from stream.replays import ReplayBook, decode_replay
    from stream.topics import REPLAYS

    book = ReplayBook()
    try:
        for batch in log.read(REPLAYS.full_name(settings.app)):
            for record in batch:
                book.add(decode_replay(record.value or b""))
    except UnknownTopic:
        pass  # Nothing was ever published again; to do so the topic is required.
    return book
