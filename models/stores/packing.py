"""How batches go to the scripts of the Redis store, and how their answers are read."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from models.stores.base import Claimed, SettledClaim, Verdict

pack_double = struct.Struct("<d").pack


def pack(items: Sequence[bytes]) -> bytes:
    """Make one argument of many: their number, their lengths, their bytes."""
    return struct.pack(f"<I{len(items)}I", len(items), *map(len, items)) + b"".join(items)


def claimed(record: bytes | None, verdict: bytes) -> Claimed:
    """Read the answer to a claim."""
    if verdict == b"L1":  # Nearly all of them.
        return Claimed(record, Verdict.JOINED, 1)
    kind, rest = Verdict(verdict[:1].decode()), verdict[1:].decode()
    if kind is Verdict.REFUSED:
        return Claimed(record, kind, before=rest)
    return Claimed(record, kind, int(rest or 0))


def state_arguments(changes: Mapping[str, bytes | None]) -> list[Any]:
    """How many fields to set, these with their values, and the fields to delete."""
    puts: list[str | bytes] = []
    for key, value in changes.items():
        if value is not None:
            puts += (f"s:{key}", value)
    deletes = [f"s:{key}" for key, value in changes.items() if value is None]
    return [len(puts) // 2, *puts, *deletes]


def settled(claim: SettledClaim) -> bytes:
    """Write a claim without anything in flight, as the scripts keep it."""
    said = "s" if claim.truth is None else f"l{claim.truth}"
    return f"{claim.revision};;{said}".encode()
