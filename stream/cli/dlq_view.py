"""How `driftline dlq` shows dead letters."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from stream.cli.common import notes, out

if TYPE_CHECKING:
    from stream.dead_letters import Letter
    from stream.replays import Chooser, ReplayBook

DETAIL_WIDTH = 60


def report(letter: Letter, book: ReplayBook) -> dict[str, Any]:
    """Give a letter as JSON."""
    from stream.dead_letters import HINTS

    body = letter.body
    return {
        "address": str(letter.address),
        "written": _when(letter.written_ms),
        "reason": body.reason,
        "detail": body.detail,
        "what_to_do": HINTS.get(body.reason, ""),
        "origin": str(letter.origin),
        "timestamp": body.timestamp,
        "replayed": book.has(letter.origin),
        "replay_of": letter.replay_of,
        "key": _text(letter.key()),
        "value": _text(letter.value()),
        "headers": [[name, _text(value)] for name, value in letter.headers()],
    }


def print_list(letters: list[Letter], reasons: Counter[str], book: ReplayBook) -> None:
    """Print the newest letters, and how many of which reason there are."""
    table = Table("address", "written", "reason", "origin", "detail", "", box=None)
    for letter in letters:
        told = "published again" if book.has(letter.origin) else ""
        if letter.replay_of:
            told = f"{told}, was a replay" if told else "was a replay"
        detail = Text(_printable(letter.body.detail)[:DETAIL_WIDTH])
        written, origin = _when(letter.written_ms), str(letter.origin)
        table.add_row(str(letter.address), written, letter.body.reason, origin, detail, told)
    if letters:
        out().print(table)
    for reason, n in reasons.most_common():
        out().print(f"{n:>9,}  {reason}")
    shown = f", the newest {len(letters):,} of them above" if reasons.total() > len(letters) else ""
    out().print(f"{reasons.total():>9,}  dead letters{shown}")


def print_letter(letter: Letter, book: ReplayBook) -> None:
    """Print one letter with all that it holds."""
    told = report(letter, book)
    table = Table(show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    rows: list[tuple[str, str | None]] = [
        ("address", told["address"]),
        ("written", told["written"]),
        ("reason", told["reason"]),
        ("detail", told["detail"]),
        ("what to do", told["what_to_do"]),
        ("came from", told["origin"]),
        ("at", _when(letter.body.timestamp)),
        ("published again", "yes" if told["replayed"] else "no"),
    ]
    rows += [("was a replay of", origin) for origin in told["replay_of"]]
    rows += [(f"header {name}", value) for name, value in told["headers"]]
    rows += [("key", told["key"]), ("value", told["value"])]
    for name, value in rows:
        table.add_row(name, Text("null" if value is None else _printable(value)))
    out().print(table)


def print_replay(trial: Chooser, reasons: Counter[str], n_published: int, n_settled: int) -> None:
    """Print what a replay did, and what it left alone."""
    if n_settled:
        out().print(f"{n_settled:>9,}  published by a run that was interrupted: noted")
    for why, n in trial.left.most_common():
        out().print(f"{n:>9,}  left alone: {why}", style="dim")
    for reason, n in reasons.most_common():
        out().print(f"{n:>9,}  {reason}")
    out().print(f"{n_published:>9,}  published again", style="green" if n_published else "")
    if reasons and not n_published:
        notes().print("nothing was published", style="yellow")


def _when(ms: int) -> str:
    return datetime.fromtimestamp(max(ms, 0) / 1000.0, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(errors="replace")


def _printable(text: str) -> str:
    # Control characters would move the terminal's cursor about.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
