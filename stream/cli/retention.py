"""`driftline versions tag | prune`: which versions are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.common import ConfigOption, JsonOption, load, notes, out, print_json
from stream.cli.errors import CommandError
from stream.cli.lineages import kept_versions
from stream.cli.store import ask_store, resolve_version

if TYPE_CHECKING:
    from models.stores.redis import RedisStore


def tag(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as before-tuesday.")],
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="A version, latest, or another tag.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Take the tag away.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give a version a name: it is kept as long as it has one, and may be called by it.

    A tag names one version; given again it moves. All commands that take a version take a tag.

    For example:

      driftline versions tag before-tuesday v1-45312 -c fraud

      driftline versions tag before-tuesday --delete -c fraud
    """
    from stream.tags import is_tag

    settings = load(config)
    if delete == (version is not None):
        raise CommandError("name the version to tag, or say --delete; not both")
    if not is_tag(name):
        raise CommandError(
            f"{name!r} can't be a tag: use up to 64 letters, digits, '.', '_' and '-', a letter "
            "first; neither latest nor like v1-45312"
        )

    async def change(store: RedisStore) -> tuple[str | None, str | None]:
        before = (await store.tags()).get(name)
        if version is None:
            return before, None if await store.untag(name) else before
        version_id = await resolve_version(store, version)
        await store.tag_version(name, version_id)
        return before, version_id

    before, now = ask_store(settings, change)
    if delete and before is None:
        raise CommandError(f"there is no tag {name!r}")
    if as_json:
        print_json({"tag": name, "version": now, "before": before})
        return
    was = f" (it named {before})" if before not in (None, now) else ""
    out().print(f"{name} names {now}{was}" if now else f"{name} is gone{was}", markup=False)


def prune(
    keep: Annotated[int, typer.Option(min=1, metavar="N", help="Keep the newest N.")],
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Drop them; else only list them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Drop old versions, but never the champion, a tagged one, or one that a kept one began at.

    A dropped version can be had again by `driftline replay --version` as long as another version of
    its lineage is kept; it can be neither rolled back to nor restored.

    For example:

      driftline versions prune --keep 10 -c fraud

      driftline versions prune --keep 10 --yes -c fraud
    """
    settings = load(config)

    async def chosen(store: RedisStore) -> dict[str, list[str]]:
        from stream.genealogy import needed_by

        metas, tags = await kept_versions(store)
        ids = await store.version_ids()
        held = {*ids[:keep], *tags.values(), await store.newest_version()}
        held |= needed_by(meta for meta in metas if meta.id in held)
        dropped = [version_id for version_id in ids if version_id not in held]
        if yes:
            dropped = await store.drop_versions(dropped)
        return {"dropped": dropped, "kept": [each for each in ids if each not in dropped]}

    found = ask_store(settings, chosen)
    if as_json:
        print_json(found | {"dry_run": not yes})
        return
    for version_id in found["dropped"]:
        out().print(f"{'dropped' if yes else 'would drop'} {version_id}")
    out().print(f"{len(found['kept']):,} versions {'are kept' if yes else 'would be kept'}")
    if not yes and found["dropped"]:
        notes().print("nothing was dropped: this was a dry run; add --yes", style="yellow")
