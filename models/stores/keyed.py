"""Keyed state of lanes in both stores: dictionaries here, hashes and Lua there.

Beside the small state that a lane loads when it opens, keyed state is as large as its entities are
many: it is loaded key by key, when one is seen, and what changed is committed in the one write with
the lane's position. Like pending events it is kept in generations, which expire whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from struct import Struct

from models.stores.base import KeyedChange, KeyedChanges

_pack_length = Struct("<I").pack


def packed(changes: Iterable[KeyedChange]) -> list[bytes]:
    """Make arguments of changes, for the scripts: what to set, then what to delete.

    Both by generation: first which ones and how many items each has, then the items, each behind
    its length, so that a script takes hundreds apart in one call.
    """
    puts: dict[int, list[bytes]] = {}
    gone: dict[int, list[bytes]] = {}
    for change in changes:
        key = change.key.encode()
        puts.setdefault(change.generation, []).extend((key, change.content))
        if change.before is not None and change.before != change.generation:
            gone.setdefault(change.before, []).append(key)
    return [*_by_generation(puts), *_by_generation(gone)]


def _by_generation(items: dict[int, list[bytes]]) -> list[bytes]:
    counts = b" ".join(b"%d:%d" % (generation, len(some)) for generation, some in items.items())
    every = list(chain.from_iterable(items.values()))
    lengths = map(_pack_length, map(len, every))
    return [counts, b"".join(chain.from_iterable(zip(lengths, every, strict=True)))]


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
