"""Read files of past events into what producers would have sent: events, and labels apart.

A file row holds both halves of the truth at once: what was known when the event happened and the
label that came later. Splitting them here, by the configuration, is what keeps a label from
travelling inside its event, where a model would learn to read it.

Nothing is refused: a cell that does not fit its type is sent as the text that it is, and the
worker turns the event into a dead letter, as it would for any other producer.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import msgspec

from models.types import Task
from stream.settings import LabelSettings, Settings

Cell: TypeAlias = Any
STDIN = Path("-")
_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})


class FileError(Exception):
    """The file can't be used with this configuration; the message says why and what to do."""


class Row(NamedTuple):
    """One row of a file: the event as its producer would send it, and the label, if it has one."""

    event: bytes
    event_id: str | int | None
    entity: str | None
    label: Cell = None
    label_time: Cell = None


class Source:
    """An open file of rows.

    `n_bytes_read` counts bytes of the file itself (compressed, if it is), for progress bars.
    """

    def __init__(self, raw: BinaryIO, rows: Iterator[Row], n_bytes: int | None) -> None:
        self.n_bytes = n_bytes
        self._raw = raw
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    @property
    def n_bytes_read(self) -> int:
        """How much of the file has been read."""
        if self.n_bytes is None:
            return 0
        return self.n_bytes if self._raw.closed else self._raw.tell()


@contextmanager
def open_rows(path: Path, settings: Settings, *, add_id: bool = False) -> Iterator[Source]:
    """Open a CSV or JSONL file, gzipped or not; `-` is JSONL on stdin.

    `add_id` numbers the rows from 0 where the file has no id column.

    Raises
    ------
    FileError
        When a required column is missing, or the file is neither CSV nor JSONL.
    """
    if path == STDIN:
        yield Source(sys.stdin.buffer, read_jsonl(sys.stdin.buffer, settings, add_id), None)
        return
    read = _reader_of(path)
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            lines: BinaryIO = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 18)  # type: ignore[arg-type]
        else:
            lines = raw
        try:
            yield Source(raw, read(lines, settings, add_id), path.stat().st_size)
        except (gzip.BadGzipFile, EOFError) as error:
            raise FileError(f"{path} is not a whole gzip file: {error}") from None
        except UnicodeDecodeError as error:
            raise FileError(f"{path} is not UTF-8: {error}") from None
        except csv.Error as error:
            raise FileError(f"{path} is not CSV: {error}") from None


def _reader_of(path: Path) -> Callable[[BinaryIO, Settings, bool], Iterator[Row]]:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind in (".jsonl", ".ndjson", ".json"):
        return read_jsonl
    if kind in (".csv", ".tsv"):
        return read_csv
    raise FileError(f"{path}: name it .csv, .tsv or .jsonl (.gz may follow), to say what it holds")


def read_csv(lines: BinaryIO, settings: Settings, add_id: bool = False) -> Iterator[Row]:
    r"""Split the rows of a CSV file with a header; the columns are the configured fields.

    Examples
    --------
    >>> from stream.settings import EventSettings
    >>> settings = Settings(event=EventSettings(features={"amount": {}}))
    >>> next(read_csv(io.BytesIO(b"id,amount,label,shop\n7,1.5,1,x\n"), settings))
    Row(event=b'{"id":"7","amount":1.5}', event_id='7', entity=None, label=1, label_time=None)
    """
    text = io.TextIOWrapper(lines, encoding="utf-8-sig", newline="")
    first = text.readline()
    delimiter = "\t" if "\t" in first and "," not in first else ","
    header = next(csv.reader([first], delimiter=delimiter), [])
    split = _CsvSplitter(header, settings, add_id)
    yield from map(split, filter(None, csv.reader(text, delimiter=delimiter)))


class _CsvSplitter:
    """Turns cells into a row, by a plan made once from the header."""

    def __init__(self, header: Sequence[str], settings: Settings, add_id: bool) -> None:
        event = settings.event
        columns = {name.strip(): i for i, name in enumerate(header)}
        self._number_rows = add_id and event.id not in columns
        _check_columns(columns, settings, self._number_rows)
        fields: list[tuple[str, Callable[[str], Cell]]] = [(event.id, str)]
        if event.time is not None:
            fields.append((event.time, str if event.time_format == "iso8601" else _number))
        if event.entity is not None:
            fields.append((event.entity, str))
        fields += [(name, _CONVERTERS[f.type]) for name, f in event.features.items()]
        # A dict: the entity may be a feature as well, and is then typed as one.
        self._plan = [
            (name, columns[name], convert)
            for name, convert in dict(fields).items()
            if name in columns and name != settings.label.value
        ]
        self._id = event.id
        self._entity = event.entity
        self._label = columns.get(settings.label.value)
        self._label_time = columns.get(settings.label.time or "")
        self._to_label = label_converter(settings.label, settings.model.task)
        self._to_time: Callable[[str], Cell] = (
            str if settings.label.time_format == "iso8601" else _number
        )
        self._n_rows = 0

    def __call__(self, cells: list[str]) -> Row:
        n = len(cells)
        event: dict[str, Cell] = {self._id: self._n_rows} if self._number_rows else {}
        self._n_rows += 1
        for name, i, convert in self._plan:
            cell = cells[i] if i < n else ""
            if cell:
                event[name] = convert(cell)
        label = self._cell(cells, self._label, self._to_label)
        label_time = self._cell(cells, self._label_time, self._to_time)
        entity = event.get(self._entity) if self._entity is not None else None
        entity = None if entity is None else str(entity)
        return Row(msgspec.json.encode(event), event.get(self._id), entity, label, label_time)

    @staticmethod
    def _cell(cells: list[str], i: int | None, convert: Callable[[str], Cell]) -> Cell:
        if i is None or i >= len(cells) or not cells[i]:
            return None
        return convert(cells[i])


def _check_columns(columns: Iterable[str], settings: Settings, numbered: bool) -> None:
    event = settings.event
    needed = [event.id] if not numbered else []
    needed += [name for name in (event.time, event.entity) if name is not None]
    needed += [name for name, feature in event.features.items() if feature.required]
    missing = [name for name in needed if name not in columns]
    if missing:
        has = ", ".join(columns) or "nothing"
        hint = " Use --add-id to number the rows." if event.id in missing else ""
        raise FileError(
            f"the file has no column {', '.join(missing)}; it has {has}. "
            f"Name its columns under [event] in the configuration.{hint}"
        )


def read_jsonl(lines: BinaryIO, settings: Settings, add_id: bool = False) -> Iterator[Row]:
    r"""Split the lines of a JSONL file: objects pass as they are, without their label.

    What is not an object passes too: the worker has a dead letter for it.

    Examples
    --------
    >>> from stream.settings import EventSettings
    >>> settings = Settings(event=EventSettings(features={"amount": {}}))
    >>> next(read_jsonl(io.BytesIO(b'{"id": 7, "amount": 1.5, "label": 1}\n'), settings))
    Row(event=b'{"id":7,"amount":1.5}', event_id=7, entity=None, label=1, label_time=None)
    """
    event, label = settings.event, settings.label
    own_time = label.time not in (None, event.time, event.entity, *event.features)
    apart = [label.value, label.time] if own_time else [label.value]
    for i, line in enumerate(filter(None, map(bytes.strip, lines))):
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        if not isinstance(value, dict):
            yield Row(line, None, None)
            continue
        truth = value.get(label.value)
        label_time = value.get(label.time) if own_time else None
        numbered = add_id and event.id not in value
        if numbered:
            value = {event.id: i, **value}
        if numbered or any(name in value for name in apart):
            kept = {name: cell for name, cell in value.items() if name not in apart}
            line = msgspec.json.encode(kept)  # noqa: PLW2901 - the event without its label
        entity = value.get(event.entity) if event.entity is not None else None
        event_id = value.get(event.id)
        yield Row(
            line,
            event_id if isinstance(event_id, str | int) else None,
            None if entity is None else str(entity),
            truth,
            label_time,
        )


def label_converter(settings: LabelSettings, task: Task) -> Callable[[str], Cell]:
    """Find how the text of a label becomes the value that a producer of labels would send.

    Examples
    --------
    >>> to_label = label_converter(LabelSettings(), Task.BINARY)
    >>> to_label("1"), to_label("0.0"), to_label("false"), to_label("maybe")
    (1, 0, False, 'maybe')
    """
    if task is Task.REGRESSION:
        return _number
    if task is Task.MULTICLASS or settings.positive is not None:
        return str
    return _binary


def _binary(text: str) -> Cell:
    lowered = text.strip().lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    number = _number(text)
    return int(number) if number in (0.0, 1.0) else text


def _number(text: str) -> Cell:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _integer(text: str) -> Cell:
    try:
        return int(text)
    except ValueError:
        number = _number(text)
        return int(number) if isinstance(number, float) and number.is_integer() else number


def _boolean(text: str) -> Cell:
    lowered = text.strip().lower()
    return lowered in _TRUE if lowered in _TRUE | _FALSE else text


_CONVERTERS: dict[str, Callable[[str], Cell]] = {
    "number": _number,
    "integer": _integer,
    "category": str,
    "boolean": _boolean,
}


def count_rows(path: Path) -> int:
    """Count the rows of a file, quickly: a line break inside a quoted cell counts as well."""
    opener = gzip.open if path.suffix == ".gz" else open
    n_lines, last = 0, b"\n"
    with opener(path, "rb") as lines:
        while chunk := lines.read(1 << 20):
            n_lines += chunk.count(b"\n")
            last = chunk[-1:]
    n_lines += last != b"\n"
    header = _reader_of(path) is read_csv
    return max(n_lines - header, 0)
