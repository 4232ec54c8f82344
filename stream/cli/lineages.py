"""`driftline versions tree | diff`: how versions came to be, and how two of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from stream.cli.common import ConfigOption, JsonOption, load, notes, out, print_json
from stream.cli.store import ask_store, examine_version, resolve_version
from stream.cli.versions import IdArgument, when

if TYPE_CHECKING:
    from models.anatomy import Anatomy
    from models.checkpoint import VersionMeta
    from models.lineage import Exclusion
    from models.stores.redis import RedisStore
    from stream.differences import Change, Difference
    from stream.genealogy import Branch
    from stream.messages import AuditRecord
    from stream.settings import Settings
    from stream.vault import Verdict

WEIGHTS_SHOWN = 10
VERSIONS_SHOWN = 4


def tree(
    config: ConfigOption = None,
    every: Annotated[
        bool, typer.Option("--all", help="All versions of each lineage, not the newest few.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which lineage branched from what, by whose command, and which was champion when.

    A lineage begins with each command that changes what the model is: a rollback, a threshold.
    Reads the kept versions, and the audit for who, why and when.

    Example: driftline versions tree -c fraud
    """
    import msgspec

    from stream.genealogy import family, reigns

    settings = load(config)
    metas, tags = ask_store(settings, kept_versions)
    audit = read_audit(settings)
    roots = family(metas, audit)
    if as_json:
        champions = [{"lineage": reign.lineage, "version": reign.version, "from": reign.start,
                      "to": reign.end} for reign in reigns(audit)]  # fmt: skip
        print_json({"lineages": msgspec.to_builtins(roots), "champions": champions, "tags": tags})
        return
    names = _tags_of(tags)
    for root in roots:
        out().print(_grow(root, None, names, every=every))


def diff(
    before: IdArgument, after: IdArgument, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Compare two versions: metrics, settings, libraries, examples, and what the model consists of.

    Of linear models it shows the weights that moved most, of trees how many nodes there are. A
    version that does not verify is not loaded, and compared by its metadata alone.

    Example: driftline versions diff v1-30000 latest -c fraud
    """
    import msgspec

    from stream.differences import difference

    settings = load(config)

    async def load_both(store: RedisStore) -> list[tuple[Verdict, Anatomy | None]]:
        return [await _load(store, settings, name) for name in (before, after)]

    verdicts = ask_store(settings, load_both)
    metas = [meta_of(verdict) for verdict, _ in verdicts]
    anatomies = [anatomy for _, anatomy in verdicts if anatomy is not None]
    both = (anatomies[0], anatomies[1]) if len(anatomies) == len(verdicts) else None
    found = difference(metas[0], metas[1], both)
    refused = [str(verdict.refusal) for verdict, _ in verdicts if verdict.refusal is not None]
    if as_json:
        print_json(msgspec.to_builtins(found) | {"refused": refused})
        return
    for text in refused:
        notes().print(f"by its metadata alone: {text}", style="yellow", markup=False)
    _print(found)


def read_audit(settings: Settings) -> list[AuditRecord]:
    """Read the whole audit, each record once."""
    from stream.commands import distinct
    from stream.kafka_log import open_log
    from stream.topics import AUDIT

    with open_log(settings.kafka) as log:
        batches = log.read(AUDIT.full_name(settings.app))
        return list(distinct(record.value or b"" for batch in batches for record in batch))


async def kept_versions(store: RedisStore) -> tuple[list[VersionMeta], dict[str, str]]:
    """Give what the kept versions say of themselves, newest first, and all tags.

    It is not proven here: what can't be read is left out, `driftline versions verify` tells it.
    """
    from models.checkpoint import peek
    from models.errors import CheckpointCorrupt, UnknownVersion

    metas = []
    for version_id in await store.version_ids():
        try:
            metas.append(peek(await store.read_meta(version_id))[0])
        except (CheckpointCorrupt, UnknownVersion):
            continue
    return metas, await store.tags()


def meta_of(verdict: Verdict) -> VersionMeta:
    """Give a version's metadata, or the reason why they can't be read."""
    if verdict.meta is None:
        raise verdict.refusal or AssertionError("neither metadata nor a reason")
    return verdict.meta


def said(without: Exclusion) -> str:
    """Say what was left out, in the words of `--without`."""
    parts = [f"offsets={start}..{end}" for start, end in without.offsets]
    parts += [f"time={when(start)}..{when(end)}" for start, end in without.times]
    parts += [f"events={','.join(without.events[:3])}" + (
        f" and {len(without.events) - 3:,} more" if len(without.events) > 3 else ""
    )] if without.events else []  # fmt: skip
    parts += [f"entity={entity}" for entity in without.entities]
    parts += [f"segment={name}:{value}" for name, value in without.features]
    return ", ".join(parts)


def _tags_of(tags: Mapping[str, str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for tag, version_id in tags.items():
        names.setdefault(version_id, []).append(tag)
    return names


def _grow(
    branch: Branch, parent: Tree | None, tags: Mapping[str, list[str]], *, every: bool
) -> Tree:
    label = Text(f"v{branch.lineage}", style="bold")
    if branch.base is not None:
        label.append(f" from {branch.base}, on from {branch.start:,}", style="not bold")
    grown = Tree(label) if parent is None else parent.add(label)
    for line in _facts(branch):
        label.append(f"\n{line}", style="not bold dim")
    shown = branch.versions if every else branch.versions[-VERSIONS_SHOWN:]
    hidden = [meta for meta in branch.versions if meta not in shown]
    shown = [*(meta for meta in hidden if meta.id in tags), *shown]
    if len(shown) < len(branch.versions):
        grown.add(Text(f"{len(branch.versions) - len(shown)} earlier versions", style="dim"))
    for meta in shown:
        row = Text(f"{meta.id}  {when(meta.cut_time)}  {meta.n_learned:,} learned")
        row.append("".join(f"  [{tag}]" for tag in tags.get(meta.id, [])), style="cyan")
        grown.add(row)
    for child in branch.branches:
        _grow(child, grown, tags, every=every)
    return grown


def _facts(branch: Branch) -> Iterable[str]:
    if branch.audit is not None:
        why = f": {branch.audit.why}" if branch.audit.why else ""
        yield f"{branch.audit.what} by {branch.audit.who}, {when(branch.audit.time)}{why}"
    if text := said(branch.without):
        yield f"without {text}"
    if branch.threshold is not None:
        yield f"threshold {branch.threshold:g}"
    for reign in branch.reigns:
        start = "the beginning" if reign.start is None else when(reign.start)
        end = "now" if reign.end is None else when(reign.end)
        yield f"champion from {start} to {end}"


async def _load(store: RedisStore, settings: Settings, name: str) -> tuple[Verdict, Anatomy | None]:
    """Examine a version, and take its model apart if it verifies."""
    from models import checkpoint
    from models.pipelines import trusted_modules

    version_id = await resolve_version(store, name)
    verdict = await examine_version(store, settings, version_id, load=True)
    if verdict.refusal is not None or verdict.meta is None:
        return verdict, None
    _, blob = await store.read_version(version_id)
    trusted = trusted_modules(settings.model.pipeline)
    return verdict, checkpoint.decode(verdict.meta, blob, trusted_modules=trusted).anatomy()


def _print(found: Difference) -> None:
    table = Table("", str(found.versions.before), str(found.versions.after), "change", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("examples only in this one", *(f"{n:,}" for n in (
        found.examples.before or 0, found.examples.after or 0)), "")  # fmt: skip
    _add_rows(table, {"learned": found.learned})
    for view, metrics in found.metrics.items():
        _add_rows(table, {f"{name}, {view}": change for name, change in metrics.items()})
    for changes in (found.settings, found.libraries, found.sizes):
        _add_rows(table, changes)
    _add_rows(table, {f"weight of {name}": change
                      for name, change in list(found.weights.items())[:WEIGHTS_SHOWN]})  # fmt: skip
    out().print(table)
    if len(found.weights) > WEIGHTS_SHOWN:
        out().print(f"and {len(found.weights) - WEIGHTS_SHOWN:,} weights that moved less")


def _add_rows(table: Table, changes: Mapping[str, Change[Any]]) -> None:
    for name, change in changes.items():
        delta = change.delta
        table.add_row(name, _cell(change.before), _cell(change.after),
                      "" if delta is None else f"{delta:+,.5g}")  # fmt: skip


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.5g}" if isinstance(value, float) else str(value)
