"""Keyed state of lanes in both stores: dictionaries here, hashes and Lua there.

Beside the small state that a lane loads when it opens, keyed state is as large as its entities are
many: it is loaded key by key, when one is seen, and what changed is committed in the one write with
the lane's position. Like pending events it is kept in generations, which expire whole.
"""

from __future__ import annotations

from collections.abc import Iterable

from models.stores.base import KeyedChange, KeyedChanges
from models.stores.packing import pack


def packed(changes: Iterable[KeyedChange]) -> bytes:
    """Make one argument of changes, for the scripts: key, generation, the one before, content."""
    items: list[bytes] = []
    for change in changes:
        before = b"" if change.before is None else b"%d" % change.before
        items += (change.key.encode(), b"%d" % change.generation, before, change.content)
    return pack(items)


class KeyedMemory:
    """Keyed state of all lanes in dictionaries: the double's half."""

    def __init__(self) -> None:
        self._lanes: dict[str, dict[int, dict[str, bytes]]] = {}

    def clear(self) -> None:
        """Forget all of it."""
        self._lanes.clear()

    def write(self, lane: str, keyed: KeyedChanges) -> None:
        """Write changes, then drop what is below the floor."""
        generations = self._lanes.setdefault(lane, {})
        for change in keyed.changes:
            if change.before is not None and change.before != change.generation:
                generations.get(change.before, {}).pop(change.key, None)
            generations.setdefault(change.generation, {})[change.key] = change.content
        if keyed.floor is not None:
            for generation in [g for g in generations if g < keyed.floor]:
                del generations[generation]

    def read(self, lane: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Give what there is of these keys."""
        return {
            key: rows[key]
            for rows in self._lanes.get(lane, {}).values()
            for key in keys
            if key in rows
        }
