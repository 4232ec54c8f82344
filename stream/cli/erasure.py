"""`driftline versions seen`: which versions have learned from a subject, or from an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, out, print_json, progress_bar
from stream.cli.errors import CommandError
from stream.cli.lineages import kept_versions
from stream.cli.store import ask_store
from stream.cli.versions import when
from stream.cli.without import exclusion

if TYPE_CHECKING:
    from models.checkpoint import VersionMeta
    from models.lineage import Exclusion
    from stream.erasure import Sighting
    from stream.settings import Settings

UNTRAINED = "v1-0"


def seen(
    entity: Annotated[
        str | None,
        typer.Option(metavar="FIELD:VALUE", help="The subject, such as CUSTOMER_ID:596."),
    ] = None,
    event: Annotated[str | None, typer.Option(metavar="ID", help="An event.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List which versions have learned from a subject or an event, and from how many examples.

    Reads the whole examples topic. What was left out of a version counts as not seen. It also
    names the newest version from before the subject, for `driftline rollback --replay --without`.

    Example: driftline versions seen --entity CUSTOMER_ID:596 -c fraud
    """
    import msgspec

    from models.exposure import Exposure
    from models.lineage import Exclusion

    settings = load(config)
    if (entity is None) == (event is None):
        raise CommandError("name either --entity or --event")
    what = f"entity={entity}" if entity is not None else f"events={event}"
    without = msgspec.convert(exclusion(settings, [what]), Exclusion)
    metas, _ = ask_store(settings, kept_versions)
    found = _find(settings, without, quiet=as_json)
    rows = []
    for meta in metas:
        exposure = Exposure(meta.id, meta.segments)
        n = sum(exposure.holds(one.example, one.offset) for one in found)
        rows.append({"version": meta.id, "examples": n})
    before = _before(metas, found)
    if as_json:
        offsets = [one.offset for one in found]
        print_json({"offsets": offsets, "versions": rows, "before": before})
        return
    _print(metas, rows, found, before, what)


def _find(settings: Settings, without: Exclusion, *, quiet: bool) -> list[Sighting]:
    from stream.erasure import marking, sightings
    from stream.kafka_log import open_log
    from stream.topics import EXAMPLES

    topic, marks = EXAMPLES.full_name(settings.app), marking(without)
    found: list[Sighting] = []
    with open_log(settings.kafka) as log, progress_bar(unit="examples", quiet=quiet) as bar:
        total = sum(end - first for first, end in log.ends(topic).values())
        task = bar.add_task("reading", total=total, count=0)
        n = 0
        for batch in log.read(topic):
            found += sightings(batch, marks)
            n += len(batch)
            bar.update(task, completed=n, count=n)
    return found


def _before(metas: list[VersionMeta], found: list[Sighting]) -> str | None:
    """Name the newest version that was cut before the first of them; None if there are none."""
    if not found:
        return None
    earlier = [meta for meta in metas if meta.position <= found[0].offset]
    return max(earlier, key=lambda meta: meta.position).id if earlier else UNTRAINED


def _print(
    metas: list[VersionMeta],
    rows: list[dict[str, Any]],
    found: list[Sighting],
    before: str | None,
    what: str,
) -> None:
    if not found:
        out().print("the examples topic holds none: no version has seen any")
        return
    table = Table("version", "cut", "examples of it", box=None)
    for meta, row in zip(metas, rows, strict=True):
        table.add_row(
            meta.id, when(meta.cut_time), f"{row['examples']:,}" if row["examples"] else ""
        )
    out().print(table)
    out().print(f"{len(found):,} examples, at offsets {found[0].offset:,} to {found[-1].offset:,}")
    out().print(f"to forget them: driftline rollback {before} --replay --without {what}")
