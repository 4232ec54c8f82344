"""`driftline replay`: rebuild the model from the log, prove a version equal, or replace it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.common import ConfigOption, JsonOption, load, out, print_json, progress_bar
from stream.cli.errors import EXIT_FAILED, CommandError
from stream.cli.evaluate import metrics_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.learner import Learner
    from models.lineage import Segment
    from models.stores.redis import RedisStore
    from stream.settings import Settings
    from stream.vault import Verdict


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
    store: Annotated[
        bool,
        typer.Option(
            "--store",
            help="If the stored version does not verify, put the rebuilt one in its place, signed.",
        ),
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write what was rebuilt to FILE, as `driftline versions export` does.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fold the examples topic from its beginning into a fresh learner, as the worker did.

    Writes nothing without --store or --out. The same log gives the same fingerprint, whenever and
    wherever it is replayed. A version after a rollback is folded as it came about, without what was
    left out. With --version the exit code is 1 where it does not, or where the
    stored version does not verify and is not replaced.

    For example:

      driftline replay -c fraud

      driftline replay -c fraud --to-position 45312

      driftline replay -c fraud --version latest

      driftline replay -c fraud --version v1-45312 --store
    """
    from models.lineage import parse_id
    from stream.cli.store import ask_store
    from stream.learners import learner_before

    settings = load(config)
    _check_options(version, to_position, file, store=store)
    verdict: Verdict | None = None
    if version is not None:
        verdict = ask_store(settings, lambda redis: _examine(redis, settings, version))
        to_position = parse_id(verdict.version_id)[1]
    segments = _segments(verdict)
    learner = learner_before(settings, segments)
    started = time.perf_counter()
    _fold(settings, learner, to_position, segments, quiet=as_json)
    seconds = time.perf_counter() - started
    report = _report(learner, seconds)
    if verdict is not None:
        report |= _compared(verdict, report["fingerprint"])
    refused = report.get("refused") is not None
    if file is not None or (store and refused):
        report["written"] = _keep(settings, learner, file, segments, store=store and refused)
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report.get("equal") is False or (refused and not store):
        raise typer.Exit(EXIT_FAILED)


def _check_options(
    version: str | None, to_position: int | None, file: Path | None, *, store: bool
) -> None:
    from stream.cli.versions import check_free

    if version is not None and to_position is not None:
        raise CommandError("--version has a position of its own: leave --to-position out")
    if store and version is None:
        raise CommandError("--store needs --version: the one to replace if it does not verify")
    if file is not None:
        check_free(file, "choose another name")


async def _examine(store: RedisStore, settings: Settings, version: str) -> Verdict:
    from stream.cli.store import examine_version, resolve_version

    return await examine_version(store, settings, await resolve_version(store, version), load=True)


def _segments(verdict: Verdict | None) -> tuple[Segment, ...]:
    """Give the course that led to a version: one of the first lineage is a fold from the start."""
    from models.errors import Refusal
    from models.lineage import parse_id

    if verdict is None or parse_id(verdict.version_id)[0] == 1:
        return ()
    proven = verdict.refusal is None or verdict.refusal.reason in (
        Refusal.LIBRARIES,
        Refusal.FORBIDDEN,
    )
    if verdict.meta is None or not proven:
        raise CommandError(
            f"{verdict.version_id} came by a command, and only its metadata say what it was folded "
            f"from; they prove nothing here: {verdict.refusal}. It can't be rebuilt. Give the "
            "command again, which cuts another version: `driftline audit` shows it"
        )
    return verdict.meta.segments


def _compared(verdict: Verdict, fingerprint: str) -> dict[str, Any]:
    """Compare with the stored version; what is refused proves nothing, equal or not."""
    if verdict.refusal is not None or verdict.meta is None:
        return {"refused": str(verdict.refusal), "expected": None, "equal": None}
    expected = verdict.meta.fingerprint
    return {"refused": None, "expected": expected, "equal": expected == fingerprint}


def _keep(
    settings: Settings,
    learner: Learner,
    file: Path | None,
    segments: tuple[Segment, ...],
    *,
    store: bool,
) -> list[str]:
    """Seal what was rebuilt; write it to the file and to the place of the stored version."""
    from models import checkpoint
    from models.checkpoint import CutReason
    from stream.cli.store import ask_store
    from stream.cli.versions import write_version

    meta, blob = checkpoint.encode(
        learner,
        parent=None,
        libraries=checkpoint.libraries(),
        cut_time=time.time(),
        reason=CutReason.REBUILT,
        segments=segments,
    )
    data = checkpoint.seal(meta, blob, settings.versions.key_ring())
    written = []
    if file is not None:
        written += [str(file), str(write_version(file, data, blob))]
    if store:
        ask_store(settings, lambda redis: redis.restore_version(meta.id, data, blob))
        written.append(f"version {meta.id} in Redis")
    return written


def _fold(
    settings: Settings,
    learner: Learner,
    to_position: int | None,
    segments: Sequence[Segment],
    *,
    quiet: bool,
) -> None:
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
        for position in fold(learner, batches, to_position, segments):
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
    if report.get("refused") is not None:
        console.print(f"the stored version is refused: {report['refused']}", markup=False)
    elif "equal" in report:
        if report["equal"]:
            console.print("equal to the stored version", style="green")
        else:
            console.print(
                f"NOT equal: the stored version has {report['expected']}. Is the pipeline, the "
                "seed, a library or PYTHONHASHSEED another than the worker's?",
                style="red",
            )
    if "written" in report:
        console.print(f"written: {', '.join(report['written'])}", style="green")
    console.print(metrics_table(report["metrics"]))
