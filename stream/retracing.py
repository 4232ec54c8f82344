"""What operators' commands had led to, from the audit and the log of commands alone.

For a recovery: the state of the learn lane that was lost with its store. The audit is written after
the command's outcome is stored, so a command without a record there may have been in force for a
moment. It is decided again, as it would be if it had come just now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from models.lineage import Segment
from stream.control import FROZEN, LINE, POSITION, unreadable_id
from stream.genealogy import FIRST_LINEAGE
from stream.messages import AuditRecord, decode_command, encode_json
from stream.ports import Record
from stream.succession import Succession

CHANGE_THE_MODEL = ("rollback", "restore", "promote", "threshold")


class Retraced(NamedTuple):
    """The lineage in force, the lane's state, and how many commands could not be retraced.

    Those were told to the audit by a release that did not write down what they led to.
    """

    segments: tuple[Segment, ...]
    changes: dict[str, bytes | None]
    n_unknown: int


def retrace(audit: Iterable[AuditRecord], commands: Iterable[Record]) -> Retraced:
    """Find out what was in force when the last record of the audit was written."""
    segments: tuple[Segment, ...] = ()
    line = Succession(FIRST_LINEAGE)
    frozen, n_unknown, decided = False, 0, set()
    for record in audit:
        decided.add(record.id)
        line = line.after(record)
        if record.outcome != "applied":
            continue
        if record.segments is not None:
            segments, n_unknown = record.segments, 0
        elif record.what in CHANGE_THE_MODEL:
            n_unknown += 1
        if record.what in ("freeze", "thaw"):
            frozen = record.what == "freeze"
    ends = [command.offset + 1 for command in commands if _id_of(command) in decided]
    if not ends:
        return Retraced(segments, {}, n_unknown)
    changes = {
        POSITION: b"%d" % max(ends), FROZEN: b"1" if frozen else None, LINE: encode_json(line),
    }  # fmt: skip
    return Retraced(segments, changes, n_unknown)


def _id_of(record: Record) -> str:
    try:
        return decode_command(record.value or b"").id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return unreadable_id(record.offset)
