"""`driftline replay`: rebuild the model from the log, and prove a version equal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.common import ConfigOption, JsonOption, load, out, print_json, progress_bar
from stream.cli.errors import EXIT_FAILED, CommandError
from stream.cli.evaluate import metrics_table

if TYPE_CHECKING:
    from models.learner import Learner
    from stream.settings import Settings


def replay(
    config: ConfigOption = None,
    to_position: Annotated[
        int | None,
        typer.Option(min=0, metavar="P", help="Only the examples before this offset."),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Replay to this version's position (latest: the newest), and compare "
            "fingerprints. Needs Redis.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fold the examples topic from its beginning into a fresh learner, as the worker did.

    Writes nothing anywhere. The same log gives the same fingerprint, whenever and wherever it is
    replayed; with --version the exit code is 1 where it does not.

    For example:

      driftline replay -c fraud

      driftline replay -c fraud --to-position 45312

      driftline replay -c fraud --version latest
    """
    from stream.cli.store import ask_store, read_meta
    from stream.learners import new_learner

    settings = load(config)
    if version is not None and to_position is not None:
        raise CommandError("--version has a position of its own: leave --to-position out")
    meta = None
    if version is not None:
        meta = ask_store(settings, lambda store: read_meta(store, version))
        to_position = meta.position
    learner = new_learner(settings, lineage=meta.lineage if meta is not None else 1)
    started = time.perf_counter()
    _fold(settings, learner, to_position, quiet=as_json)
    seconds = time.perf_counter() - started
    report = _report(learner, seconds)
    if meta is not None:
        report["expected"] = meta.fingerprint
        report["equal"] = meta.fingerprint == report["fingerprint"]
    if as_json:
        print_json(report)
    else:
        _print(report)
    if not report.get("equal", True):
        raise typer.Exit(EXIT_FAILED)


def _fold(settings: Settings, learner: Learner, to_position: int | None, *, quiet: bool) -> None:
    from stream.kafka_log import open_log
    from stream.replay import fold
    from stream.topics import EXAMPLES

    topic = EXAMPLES.full_name(settings.app)
    with open_log(settings.kafka) as log, progress_bar(unit="examples", quiet=quiet) as bar:
        first, end = log.ends(topic)[0]
        if to_position is not None:
            if to_position > end:
                raise CommandError(
                    f"position {to_position} is beyond the end of {topic}, which is {end}"
                )
            end = to_position
        task = bar.add_task("replaying", total=end, count=0)
        batches = (
            [(message.offset, message.value or b"") for message in batch]
            for batch in log.read(topic, {0: (first, end)})
        )
        for position in fold(learner, batches, to_position):
            bar.update(task, completed=position, count=position)


def _report(learner: Learner, seconds: float) -> dict[str, Any]:
    return {
        "version": learner.version_id,
        "position": learner.position,
        "learned": learner.n_learned,
        "fingerprint": learner.fingerprint(),
        "pipeline": learner.pipeline,
        "seconds": round(seconds, 3),
        "examples_per_s": round(learner.position / seconds, 1) if seconds else 0.0,
        "metrics": learner.metrics(),
    }


def _print(report: dict[str, Any]) -> None:
    console = out()
    console.print(
        f"{report['version']}: position {report['position']:,}, {report['learned']:,} learned, "
        f"{report['examples_per_s']:,.0f} examples/s"
    )
    console.print(f"fingerprint {report['fingerprint']}")
    if "equal" in report:
        if report["equal"]:
            console.print("equal to the stored version", style="green")
        else:
            console.print(
                f"NOT equal: the stored version has {report['expected']}. Is the pipeline, the "
                "seed, a library or PYTHONHASHSEED another than the worker's?",
                style="red",
            )
    console.print(metrics_table(report["metrics"]))
