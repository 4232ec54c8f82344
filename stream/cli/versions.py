"""`driftline versions`: what versions of the model there are, and taking one away."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, out, print_json
from stream.cli.evaluate import metrics_table
from stream.cli.store import ask_store, read_meta, resolve_version

if TYPE_CHECKING:
    from models.checkpoint import VersionMeta
    from models.stores.redis import RedisStore

app = typer.Typer(no_args_is_help=True, help="List, show and export versions of the model.")

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Such as v1-45312, or latest for the newest.")
]


@app.command("list")
def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the kept versions, newest first.

    Example: driftline versions list -c fraud
    """
    import msgspec

    metas = ask_store(load(config), _all_metas)
    if as_json:
        print_json([msgspec.to_builtins(meta) for meta in metas])
        return
    table = Table(box=None)
    for title in (
        "version",
        "cut",
        "why",
        "learned",
        "size",
        "metrics, last window",
        "fingerprint",
    ):
        table.add_column(title, justify="right" if title in ("learned", "size") else "left")
    for meta in metas:
        table.add_row(
            meta.id,
            _when(meta.cut_time),
            str(meta.reason),
            f"{meta.n_learned:,}",
            f"{meta.n_bytes / 1024:,.0f} kB",
            _in_short(meta),
            meta.fingerprint,
        )
    out().print(table if metas else "no version has been cut yet")


@app.command(no_args_is_help=True)
def show(version: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what is known of a version, without loading it.

    Example: driftline versions show latest -c fraud
    """
    import msgspec

    meta = ask_store(load(config), lambda store: read_meta(store, version))
    if as_json:
        print_json(msgspec.to_builtins(meta))
        return
    table = Table(show_header=False, box=None)
    for name in ("id", "parent", "position", "n_learned", "reason", "task", "pipeline"):
        table.add_row(name, str(getattr(meta, name)))
    table.add_row("cut", _when(meta.cut_time))
    for name in ("pipeline_hash", "fingerprint", "sha256", "n_bytes"):
        table.add_row(name, str(getattr(meta, name)))
    libraries = ", ".join(f"{name} {release}" for name, release in meta.libraries.items())
    table.add_row("libraries", libraries)
    out().print(table)
    out().print(metrics_table(meta.metrics))


@app.command(no_args_is_help=True)
def export(
    version: IdArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; FILE.json goes beside.")],
    config: ConfigOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write a verified version to FILE, and what is known of it to FILE.json.

    Nothing is written unless the checksum, the libraries and the fingerprint are right. Load it
    in Python, with the same checks, with:

      from stream.learners import load_exported

      learner = load_exported("model.driftline"); learner.score({"amount": 12.5})

    Example: driftline versions export latest model.driftline -c fraud
    """
    from models import checkpoint
    from models.pipelines import trusted_modules
    from stream.cli.errors import CommandError
    from stream.learners import metadata_file

    settings = load(config)
    beside = metadata_file(file)
    existing = [str(path) for path in (file, beside) if path.exists()]
    if existing and not force:
        raise CommandError(f"{' and '.join(existing)} exists: choose another name, or use --force")
    data, blob = ask_store(settings, lambda store: _read(store, version))
    meta = checkpoint.decode_meta(data)
    checkpoint.decode(meta, blob, trusted_modules=trusted_modules(settings.model.pipeline))
    file.write_bytes(blob)
    beside.write_bytes(data)
    out().print(f"{meta.id}: {file} ({meta.n_bytes:,} bytes) and {beside}")


async def _read(store: RedisStore, version: str) -> tuple[bytes, bytes]:
    return await store.read_version(await resolve_version(store, version))


async def _all_metas(store: RedisStore) -> list[VersionMeta]:
    return [await read_meta(store, version_id) for version_id in await store.version_ids()]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _in_short(meta: VersionMeta) -> str:
    rolling = meta.metrics.get("rolling", {})
    shown = ("accuracy", "roc_auc", "pr_auc", "macro_f1", "mae", "r2")
    return ", ".join(f"{name} {rolling[name]:.3f}" for name in shown if name in rolling)
