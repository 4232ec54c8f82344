"""`driftline produce`: publish a file of past events, and their labels when they are due."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.common import (
    ConfigOption,
    JsonOption,
    is_stdio,
    load,
    notes,
    out,
    print_json,
    progress_bar,
)
from stream.cli.errors import EXIT_INTERRUPTED, CommandError

if TYPE_CHECKING:
    from stream.feed import Feed, Outgoing
    from stream.kafka_log import Publisher
    from stream.rows import Source
    from stream.settings import Settings

PROGRESS_EVERY = 2_000
GROUP_RECORDS = 500

FILE = typer.Argument(
    metavar="FILE", help="A .csv, .tsv or .jsonl file; .gz may follow. - is JSONL on stdin."
)
FileArgument = Annotated[Path, FILE]
LabelDelayOption = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="How late labels come, in the events' own time: 90s, 12h, 7d. Needs event.time.",
    ),
]
LabelDelayEventsOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Or: labels come after N further events."),
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Stop after this many rows.")]
OffsetOption = Annotated[int, typer.Option("--offset-rows", min=0, help="Skip the first rows.")]
AddIdOption = Annotated[
    bool, typer.Option("--add-id", help="Number the rows where the file has no id column.")
]


def produce(
    file: FileArgument,
    *,
    config: ConfigOption = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001, metavar="N", help="Events per second (labels on top); else at full speed."
        ),
    ] = None,
    limit: LimitOption = None,
    offset_rows: OffsetOption = 0,
    label_delay: LabelDelayOption = "0s",
    label_delay_events: LabelDelayEventsOption = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Events only.")] = False,
    labels_only: Annotated[
        bool,
        typer.Option(
            "--labels-only", help="Labels only; with label.features they carry the features."
        ),
    ] = False,
    add_id: AddIdOption = False,
    as_json: JsonOption = False,
) -> None:
    """Publish the rows of a file as events, and their labels when they are due.

    From a CSV row go only the configured event fields, typed by the configuration; a JSONL object
    goes as it is. The label never travels inside its event: it is published to the labels topic,
    at once or after the delay, and whatever is still held when the file ends is published then.
    Rows that the worker will refuse are published too, and counted in the summary.

    For example:

      driftline produce transactions.csv.gz -c fraud --label-delay 7d

      driftline produce elec2.csv.gz -c elec2 --add-id --label-delay-events 48 --rate 500

      tail -f gateway.jsonl | driftline produce - -c fraud
    """
    from stream.feed import Feed
    from stream.kafka_log import BULK_LINGER_MS, LINGER_MS, open_publisher
    from stream.rows import open_rows

    settings = load(config)
    if no_labels and labels_only:
        raise CommandError("--no-labels and --labels-only leave nothing to publish")
    schedule = schedule_of(settings, label_delay, label_delay_events)
    feed = Feed(
        settings, schedule, time.time, with_events=not labels_only, with_labels=not no_labels
    )
    is_bulk = rate is None and not is_stdio(file)
    linger_ms = BULK_LINGER_MS if is_bulk else LINGER_MS
    with (
        open_rows(file, settings, add_id=add_id) as source,
        open_publisher(settings.kafka, linger_ms=linger_ms) as publisher,
    ):
        started = time.perf_counter()
        with _flushed(publisher) as outcome:
            _publish(
                feed,
                source,
                publisher,
                settings,
                window=(offset_rows, limit),
                rate=rate,
                in_groups=is_bulk,
                quiet=as_json,
            )
        seconds = time.perf_counter() - started
    _summarise(feed, len(schedule), publisher.n_acknowledged, seconds, as_json=as_json)
    if outcome.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def schedule_of(settings: Settings, delay: str, delay_events: int | None) -> Any:
    """Build the schedule that the label options describe; say so when they can't be."""
    from stream.durations import seconds_of
    from stream.schedule import label_schedule

    try:
        delay_s = seconds_of(delay)
    except ValueError as error:
        raise CommandError(f"--label-delay: {error}") from None
    if delay_s and delay_events is not None:
        raise CommandError("give --label-delay or --label-delay-events, not both")
    if delay_s and settings.event.time is None:
        raise CommandError(
            "--label-delay is in the events' own time, but event.time is not configured: "
            "name the field, or use --label-delay-events"
        )
    return label_schedule(delay_s, delay_events)


@dataclass(slots=True)
class _Outcome:
    interrupted: bool = False


@contextlib.contextmanager
def _flushed(publisher: Publisher) -> Iterator[_Outcome]:
    # Ctrl-C ends the publishing, not the acknowledgements of what is queued. A failure says how
    # far it came: who repeats the command can then skip rows.
    outcome = _Outcome()
    try:
        try:
            yield outcome
        except KeyboardInterrupt:
            notes().print("interrupted: publishing what is queued")
            outcome.interrupted = True
        publisher.flush()
    except Exception:
        if n := publisher.n_acknowledged:
            notes().print(f"Kafka has acknowledged {n:,} records")
        raise


def _publish(
    feed: Feed,
    source: Source,
    publisher: Publisher,
    settings: Settings,
    *,
    window: tuple[int, int | None],
    rate: float | None,
    in_groups: bool,
    quiet: bool,
) -> None:
    from stream.topics import EVENTS, LABELS

    topics = {"event": EVENTS.full_name(settings.app), "label": LABELS.full_name(settings.app)}
    publisher.require(topics.values())
    offset, limit = window
    rows = itertools.islice(source, offset, None if limit is None else offset + limit)
    pace = Pace(rate, publisher) if rate is not None else None
    publish = publisher.publish
    with progress_bar(quiet=quiet) as bar:
        task = bar.add_task("producing", total=limit or source.n_bytes, count=0)
        records = feed.records(rows)
        for n, (kind, key, value) in enumerate(_grouped(records) if in_groups else records, 1):
            if pace is not None and kind == "event":
                pace.wait(feed.n_events)
            publish(topics[kind], key, value)
            if n % PROGRESS_EVERY == 0:
                publisher.serve()
                done = feed.n_rows if limit else source.n_bytes_read
                bar.update(task, completed=done, count=n)


def _grouped(records: Iterator[Outgoing]) -> Iterator[Outgoing]:
    # Making many records and then publishing them is a quarter faster than in turns: the code of
    # both together does not fit the processor's nearest cache.
    while group := list(itertools.islice(records, GROUP_RECORDS)):
        yield from group


class Pace:
    """Keeps a rate over the whole run: who has fallen behind catches up."""

    # Sleeping for less is not worth a system call, and would not be accurate.
    STEP_S = 0.005

    def __init__(self, rate: float, publisher: Publisher) -> None:
        self._interval_s = 1.0 / rate
        self._publisher = publisher
        self._started = time.perf_counter()

    def wait(self, n: int) -> None:
        """Wait until the n-th record, counted from 1, is due."""
        due = self._started + (n - 1) * self._interval_s
        ahead = due - time.perf_counter()
        if ahead < self.STEP_S:
            return
        # The wait is also where acknowledgements are taken.
        self._publisher.serve()
        while (ahead := due - time.perf_counter()) > 0:
            time.sleep(ahead)


def _summarise(
    feed: Feed, n_held: int, n_acknowledged: int, seconds: float, *, as_json: bool
) -> None:
    n_invalid = sum(feed.invalid.values())
    rate = n_acknowledged / seconds if seconds > 0 else 0.0
    if as_json:
        print_json(
            {
                "rows": feed.n_rows,
                "events": feed.n_events,
                "labels": feed.n_labels,
                "invalid": dict(feed.invalid),
                "labels_held": n_held,
                "acknowledged": n_acknowledged,
                "seconds": round(seconds, 3),
                "records_per_s": round(rate, 1),
            }
        )
        return
    table = Table(show_header=False, box=None)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_row("events", f"{feed.n_events:,}")
    for reason, n in feed.invalid.most_common():
        table.add_row(f"  will be dead letters: {reason}", f"{n:,}")
    table.add_row("labels", f"{feed.n_labels:,}")
    if n_held:
        table.add_row("  not published, interrupted", f"{n_held:,}")
    table.add_row("acknowledged by Kafka", f"{n_acknowledged:,}")
    table.add_row("seconds", f"{seconds:,.1f}")
    table.add_row("records/s", f"{rate:,.0f}")
    out().print(table)
    if n_invalid:
        notes().print(
            "see the dead letters with `driftline tail dead-letters --from-beginning`",
            style="yellow",
        )
