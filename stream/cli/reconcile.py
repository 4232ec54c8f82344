"""`driftline reconcile`: compare what came in with what came out, to the unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, out, print_json, progress_bar
from stream.cli.errors import EXIT_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.progress import Progress

    from models.stores.redis import RedisStore
    from stream.kafka_log import Log
    from stream.ledger import Balance, Ledger
    from stream.settings import Settings

Lanes = tuple[dict[str, int], dict[str, int]]


def reconcile(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read all topics to their ends and account for every event and every label.

    Each event that a worker has taken must have one decision or one dead letter; each label one
    example, one dead letter, or a place among the waiting. The examples are those of labels and
    those of events that nobody labelled in time (join.negative_after). Outputs that a crash
    repeated are counted apart; two different decisions for one event, or two examples for one
    revision of its label, are a conflict. Exit code 1 if anything is missing or contradicts.
    Workers may run meanwhile.

    Example: driftline reconcile -c fraud
    """
    settings = load(config)
    balance = _balance(settings, quiet=as_json)
    if as_json:
        print_json(_report(balance))
    else:
        _print(balance)
    if not balance.adds_up:
        raise typer.Exit(EXIT_FAILED)


def _balance(settings: Settings, *, quiet: bool) -> Balance:
    from stream.cli.store import ask_store
    from stream.kafka_log import open_log
    from stream.ledger import Ledger, Topic
    from stream.topics import EVENTS, LABELS
    from stream.topology import event_topics, lane_kind

    path = event_topics(settings)
    # Positions first: whatever a lane has committed by now is in the topics by the time we read.
    before = ask_store(settings, _lanes)
    events, labels = EVENTS.full_name(settings.app), LABELS.full_name(settings.app)
    with open_log(settings.kafka) as log, progress_bar(quiet=quiet) as bar:
        ledger = Ledger(
            Topic(log.ends(events), _positions(before[0], lane_kind(0, len(path)))),
            Topic(log.ends(labels), _positions(before[0], "label")),
            n_waiting=sum(before[1].values()),
        )
        ledger.re_keyed = len(path) > 1
        _read_outputs(settings, log, ledger, bar)
        for place, topic in enumerate(path[1:], 1):
            positions = _positions(before[0], lane_kind(place, len(path)))
            _read_on_the_way(topic.full_name(settings.app), positions, log, ledger)
        if ledger.balance().events["MISSING"]:
            _read_events(settings, log, ledger, bar)
    ledger.moving = ask_store(settings, _lanes) != before
    return ledger.balance()


async def _lanes(store: RedisStore) -> Lanes:
    positions = await store.positions()
    return positions, await store.waiting_counts()


def _positions(positions: Mapping[str, int], kind: str) -> dict[int, int]:
    named = (lane.rpartition(".") for lane in positions)
    return {
        int(partition): positions[f"{kind}.{partition}"]
        for its_kind, _, partition in named
        if its_kind == kind
    }


def _read_outputs(settings: Settings, log: Log, ledger: Ledger, bar: Progress) -> None:
    from stream.topics import DEAD_LETTERS, EVENTS, EXAMPLES, LABELS, SCORES

    events, labels = EVENTS.full_name(settings.app), LABELS.full_name(settings.app)
    readers: list[tuple[str, Callable[[bytes], None]]] = [
        (SCORES.name, ledger.add_score),
        (EXAMPLES.name, ledger.add_example),
        (DEAD_LETTERS.name, lambda value: ledger.add_dead_letter(value, events, labels)),
    ]
    for name, add in readers:
        for message in _messages(log, f"{settings.app}.{name}", bar):
            add(message.value)


def _read_on_the_way(name: str, positions: Mapping[int, int], log: Log, ledger: Ledger) -> None:
    """Look for events that a re-keyed log holds and that its lanes have not taken."""
    from stream.re_keyed import origin_of

    ends = log.ends(name)
    left = {p: (max(first, positions.get(p, first)), end) for p, (first, end) in ends.items()}
    for batch in log.read(name, {p: span for p, span in left.items() if span[0] < span[1]}):
        origins = (origin_of(message.value) for message in batch)
        ledger.on_the_way.update(origin for origin in origins if origin is not None)


def _read_events(settings: Settings, log: Log, ledger: Ledger, bar: Progress) -> None:
    """Look for events whose id came twice: their decision names the first one's offset."""
    from stream.ledger import event_id_of
    from stream.topics import EVENTS

    for message in _messages(log, EVENTS.full_name(settings.app), bar):
        partition, offset = message.partition, message.offset
        if ledger.lacks_outcome(partition, offset):
            event_id = event_id_of(message.value, settings.event.id)
            if event_id is not None:
                ledger.add_unscored_event(partition, offset, event_id)


def _messages(log: Log, topic: str, bar: Progress) -> Any:
    ends = log.ends(topic)
    total = sum(end - first for first, end in ends.values())
    task = bar.add_task(topic, total=total, count=0)
    n = 0
    for batch in log.read(topic, ends):
        n += len(batch)
        bar.update(task, completed=n, count=n)
        yield from batch
    bar.remove_task(task)


def _report(balance: Balance) -> dict[str, Any]:
    return {
        "adds_up": balance.adds_up,
        "events": balance.events,
        "labels": balance.labels,
        "learned": balance.learned,
        "not_taken_yet": balance.backlog,
        "redelivered": balance.redelivered,
        "conflicts": balance.conflicts,
    }


def _print(balance: Balance) -> None:
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    for side in (balance.events, balance.labels, balance.learned):
        for i, (name, n) in enumerate(side.items()):
            style = "bold" if i == 0 else "red" if name == "MISSING" and n else ""
            table.add_row(name if i == 0 else f"  {name}", f"{n:,}", style=style)
    for name, n in balance.backlog.items():
        table.add_row(f"{name} that no worker has taken yet", f"{n:,}")
    for name, n in balance.redelivered.items():
        table.add_row(f"{name} published again, identical", f"{n:,}", style="dim")
    for name, n in balance.conflicts.items():
        table.add_row(f"CONFLICT: {name}", f"{n:,}", style="red")
    out().print(table)
    if balance.adds_up:
        out().print("adds up", style="green")
    else:
        out().print("DOES NOT ADD UP", style="bold red")
