"""Names that people give to versions, and how a version is found by one."""

from __future__ import annotations

import re

from models.errors import UnknownVersion
from models.stores.base import VersionStore

LATEST = "latest"
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_ID = re.compile(r"v\d+-\d+")


def is_tag(name: str) -> bool:
    """Say whether a version can be tagged so: unlike an id, and unlike `latest`.

    Examples
    --------
    >>> [is_tag(name) for name in ("before-tuesday", "v1-20", "latest", "two words")]
    [True, False, False, False]
    """
    return bool(_TAG.fullmatch(name)) and not _ID.fullmatch(name) and name != LATEST


async def resolve(store: VersionStore, name: str) -> str:
    """Give the id of a version by its id, by a tag, or by `latest` for the newest.

    Raises
    ------
    UnknownVersion
        When no version is called that; of an id only the store knows.
    """
    if name == LATEST:
        newest = await store.newest_version()
        if newest is None:
            what = "no version has been cut yet: a worker has to learn something first"
            raise UnknownVersion(what)
        return newest
    if not is_tag(name):
        return name
    tags = await store.tags()
    if name not in tags:
        known = ", ".join(tags) or "none yet"
        raise UnknownVersion(f"{name!r} is neither a version like v1-45312 nor a tag: {known}")
    return tags[name]
