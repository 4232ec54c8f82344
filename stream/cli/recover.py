"""`driftline recover`: rebuild what Redis held from the logs in Kafka."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, notes, out, print_json, progress_bar
from stream.cli.errors import CommandError
from stream.cli.store import ask_store

if TYPE_CHECKING:
    from models.stores.base import Store
    from stream.recovery import Recovered
    from stream.settings import Settings


def recover(
    config: ConfigOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, write nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a store that has not lost its birth record.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rebuild positions, waiting events, waiting labels and the model after Redis lost its data.

    For when a worker refuses to start with exit status 5. Stop all workers first, paused ones too.
    Reads all topics; decisions that were published stay as they are, and so do rollbacks,
    thresholds and freezes. What the topics no longer keep can't be rebuilt: it is counted. May be
    repeated.

    For example:

      driftline recover -c fraud --dry-run

      driftline recover -c fraud
    """
    settings = load(config)
    _refuse_while_workers_run(settings)
    if not dry_run and not force and ask_store(settings, lambda store: store.birth()) is not None:
        raise CommandError(
            f"the store of {settings.app} is alive: it has its birth record, so nothing seems to "
            "be lost. --force drops it all the same, and rebuilds it from the logs"
        )
    started = time.perf_counter()
    found = _recover(settings, dry_run=dry_run, quiet=as_json)
    if as_json:
        print_json(_report(found))
    else:
        _print(found, time.perf_counter() - started, dry_run=dry_run)


def birth_record() -> bytes:
    """Make a birth record: who it is, and since when."""
    return json.dumps({"id": uuid.uuid4().hex, "time": round(time.time(), 3)}).encode()


def _refuse_while_workers_run(settings: Settings) -> None:
    from stream.kafka_group import count_members

    if n := count_members(settings):
        raise CommandError(
            f"{n} worker(s) of {settings.app} are in their group: stop them first. One that was "
            "killed leaves it after kafka.session_timeout"
        )


def _recover(settings: Settings, *, dry_run: bool, quiet: bool) -> Recovered:
    from stream.kafka_group import committed_offsets
    from stream.kafka_log import open_log
    from stream.learners import check_learner
    from stream.recovery import Recovery

    learner = check_learner(settings)
    committed = committed_offsets(settings)
    with (
        open_log(settings.kafka) as log,
        open_log(settings.kafka) as events_log,
        progress_bar(quiet=quiet) as bar,
    ):
        tasks: dict[str, Any] = {}
        counts: dict[str, int] = {}

        def reading(topic: str, n: int) -> None:
            if topic not in tasks:
                # Read twice: scores for what came of the events, then what they were; examples for
                # the model, then for the claims, which a dry run does not write.
                twice = (".scores",) if dry_run else (".scores", ".examples")
                total = sum(end - first for first, end in sizes[topic].values())
                total *= 2 if topic.endswith(twice) else 1
                tasks[topic], counts[topic] = bar.add_task(topic, total=total, count=0), 0
            counts[topic] += n
            bar.update(tasks[topic], completed=counts[topic], count=counts[topic])

        read = ("scores", "dead-letters", "audit", "control", "examples")
        names = [f"{settings.app}.{name}" for name in read]
        sizes = {name: log.ends(name) for name in names}
        recovery = Recovery(
            settings,
            log=log,
            events_log=events_log,
            committed=committed,
            learner=learner,
            reading=reading,
        )

        async def run(store: Store | None) -> Recovered:
            return await recovery.run(store, time.time(), birth_record())

        if dry_run:
            import asyncio

            return asyncio.run(run(None))
        return ask_store(settings, run)


def _report(found: Recovered) -> dict[str, Any]:
    return {
        "positions": found.positions,
        "pending": found.n_pending,
        "waiting": found.n_waiting,
        "version": found.version,
        "learned": found.n_learned,
        "frozen": found.frozen,
        "fingerprint": found.fingerprint,
        "gone": {what: n for what, n in found.gone.items() if n},
    }


def _print(found: Recovered, seconds: float, *, dry_run: bool) -> None:
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    for lane, position in sorted(found.positions.items()):
        table.add_row(f"position of {lane}", f"{position:,}")
    table.add_row("events that wait for labels", f"{found.n_pending:,}")
    table.add_row("labels that wait for events", f"{found.n_waiting:,}")
    stands = ", frozen" if found.frozen else ""
    table.add_row("model", f"{found.version or 'none'}, {found.n_learned:,} learned{stands}")
    for what, n in found.gone.items():
        if n:
            table.add_row(what, f"{n:,}", style="yellow")
    out().print(table)
    if dry_run:
        notes().print("nothing was written: this was a dry run", style="yellow")
    else:
        out().print(f"recovered in {seconds:.1f} s: start the workers", style="green")
