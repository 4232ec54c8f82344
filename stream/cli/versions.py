"""`driftline versions list | show | verify | export`: what there is, and whether it verifies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, out, print_json
from stream.cli.errors import EXIT_FAILED, CommandError
from stream.cli.evaluate import metrics_table
from stream.cli.store import ask_store, examine_version, resolve_version

if TYPE_CHECKING:
    from models.checkpoint import VersionMeta
    from models.stores.redis import RedisStore
    from stream.settings import Settings
    from stream.vault import Verdict

app = typer.Typer(
    no_args_is_help=True, help="List, compare, tag, verify and export versions of the model."
)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Such as v1-45312, a tag, or latest for the newest.")
]


@app.command("list")
def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the kept versions, newest first, and who signed them.

    All is checked that can be without loading them; `driftline versions verify` checks the rest.

    Example: driftline versions list -c fraud
    """
    settings = load(config)
    verdicts, tags = ask_store(settings, lambda store: _examine_tagged(store, settings))
    if as_json:
        reports = [_report(verdict) for verdict in verdicts]
        print_json([report | {"tags": _tags_of(report["id"], tags)} for report in reports])
        return
    table = Table(box=None)
    for title in ("version", "cut", "why", "learned", "size", "metrics, last window",
                  "fingerprint", "tags", "verifies"):  # fmt: skip
        table.add_column(title, justify="right" if title in ("learned", "size") else "left")
    for verdict in verdicts:
        names = ", ".join(_tags_of(verdict.version_id, tags))
        shown = *_in_short(verdict.meta), names, _sentence(verdict, settings)
        table.add_row(verdict.version_id, *shown)
    out().print(table if verdicts else "no version has been cut yet")


@app.command(no_args_is_help=True)
def show(version: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what is known of a version, without loading it.

    Example: driftline versions show latest -c fraud
    """
    settings = load(config)
    verdict, tags = ask_store(settings, lambda store: _examine(store, settings, version))
    meta = verdict.meta
    if meta is None:
        raise verdict.refusal or AssertionError("neither metadata nor a reason")
    if as_json:
        print_json(_report(verdict) | {"tags": tags})
        return
    table = Table(show_header=False, box=None)
    for name in ("id", "parent", "position", "n_learned", "reason", "task", "pipeline"):
        table.add_row(name, str(getattr(meta, name)))
    table.add_row("tags", ", ".join(tags))
    for segment in meta.segments:
        table.add_row(f"began v{segment.lineage}", f"at {segment.base}, on from {segment.start:,}")
    table.add_row("cut", when(meta.cut_time))
    for name in ("pipeline_hash", "fingerprint", "sha256", "n_bytes"):
        table.add_row(name, str(getattr(meta, name)))
    libraries = ", ".join(f"{name} {release}" for name, release in meta.libraries.items())
    table.add_row("libraries", libraries)
    table.add_row("verifies", _sentence(verdict, settings))
    out().print(table)
    if verdict.refusal is not None:
        out().print(str(verdict.refusal), style="red", markup=False)
    out().print(metrics_table(meta.metrics))
    out().print("of the labels that had come; `driftline clocks` says of how many events")


@app.command()
def verify(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check every kept version as a worker would: signature, content, libraries, fingerprint.

    Each is loaded and predicts its probes again. The exit code is 1 if any would be refused.

    Example: driftline versions verify -c fraud
    """
    settings = load(config)
    verdicts = ask_store(settings, lambda store: _examine_all(store, settings, loaded=True))
    if as_json:
        print_json([_report(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            said = verdict.refusal or f"version {verdict.version_id} verifies"
            out().print(f"{_sentence(verdict, settings)}: {said}", markup=False)
    if any(verdict.refusal is not None for verdict in verdicts):
        raise typer.Exit(EXIT_FAILED)


@app.command(no_args_is_help=True)
def export(
    version: IdArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; FILE.json goes beside.")],
    config: ConfigOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write a verified version to FILE, and what is known of it to FILE.json.

    Nothing is written unless the signature, the libraries and the fingerprint are right. Load it
    in Python, with the same checks (argument `keys`: also of the signature), with:

      from stream.learners import load_exported

      learner = load_exported("model.driftline"); learner.score({"amount": 12.5})

    Example: driftline versions export latest model.driftline -c fraud
    """
    from stream.learners import trusted
    from stream.vault import examine

    settings = load(config)
    if not force:
        check_free(file, "choose another name, or use --force")
    version_id, data, blob = ask_store(settings, lambda store: _read(store, version))
    verdict = examine(
        version_id,
        data,
        blob,
        settings.versions.key_ring(),
        trusted=trusted(settings),
    )
    if verdict.refusal is not None:
        raise verdict.refusal
    beside = write_version(file, data, blob)
    said = f"{version_id} ({_sentence(verdict, settings)})"
    out().print(f"{said}: {file} ({len(blob):,} bytes) and {beside}")


def check_free(file: Path, advice: str) -> None:
    """Refuse to overwrite an exported version."""
    from stream.learners import metadata_file

    existing = [str(path) for path in (file, metadata_file(file)) if path.exists()]
    if existing:
        raise CommandError(f"{' and '.join(existing)} exists: {advice}")


def write_version(file: Path, data: bytes, blob: bytes) -> Path:
    """Write a version to files that `load_exported` loads; give the name of the second."""
    from stream.learners import metadata_file

    beside = metadata_file(file)
    file.write_bytes(blob)
    beside.write_bytes(data)
    return beside


async def _read(store: RedisStore, version: str) -> tuple[str, bytes, bytes]:
    version_id = await resolve_version(store, version)
    return version_id, *await store.read_version(version_id)


async def _examine(
    store: RedisStore, settings: Settings, version: str
) -> tuple[Verdict, list[str]]:
    version_id = await resolve_version(store, version)
    verdict = await examine_version(store, settings, version_id)
    return verdict, _tags_of(version_id, await store.tags())


async def _examine_tagged(
    store: RedisStore, settings: Settings
) -> tuple[list[Verdict], dict[str, str]]:
    return await _examine_all(store, settings), await store.tags()


def _tags_of(version_id: str, tags: Mapping[str, str]) -> list[str]:
    return [tag for tag, tagged in tags.items() if tagged == version_id]


async def _examine_all(
    store: RedisStore, settings: Settings, *, loaded: bool = False
) -> list[Verdict]:
    ids = await store.version_ids()
    return [await examine_version(store, settings, each, load=loaded) for each in ids]


def _report(verdict: Verdict) -> dict[str, Any]:
    import msgspec

    known = {} if verdict.meta is None else msgspec.to_builtins(verdict.meta)
    refusal = verdict.refusal
    return {
        **known,
        "id": verdict.version_id,
        "key": verdict.key,
        "refused": None if refusal is None else str(refusal.reason),
        "detail": None if refusal is None else str(refusal),
    }


def _sentence(verdict: Verdict, settings: Settings) -> str:
    if verdict.refusal is not None:
        return f"REFUSED ({verdict.refusal.reason})"
    if verdict.key is None:
        return "not signed"
    unchecked = "" if settings.versions.key_ring() else ", not checked: versions.keys is not set"
    return f"signed by {verdict.key}{unchecked}"


def when(seconds: float) -> str:
    """Write a time for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _in_short(meta: VersionMeta | None) -> tuple[str, ...]:
    if meta is None:
        return ("?",) * 6
    rolling = meta.metrics.get("rolling", {})
    shown = ("accuracy", "roc_auc", "pr_auc", "macro_f1", "mae", "r2")
    return (
        when(meta.cut_time),
        str(meta.reason),
        f"{meta.n_learned:,}",
        f"{meta.n_bytes / 1024:,.0f} kB",
        ", ".join(f"{name} {rolling[name]:.3f}" for name in shown if name in rolling),
        meta.fingerprint,
    )
