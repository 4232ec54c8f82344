"""Files become what producers would have sent, and labels come apart from their events."""

import gzip
import io
import json
from pathlib import Path

import pytest

from models.types import Task
from stream.rows import FileError, count_rows, label_converter, open_rows, read_csv, read_jsonl
from stream.settings import LabelSettings, Settings

EVENT = {
    "id": "tx",
    "time": "at",
    "entity": "card",
    "features": {
        "amount": {},
        "n": {"type": "integer"},
        "shop": {"type": "category", "required": False},
        "abroad": {"type": "boolean"},
    },
}


@pytest.fixture
def settings() -> Settings:
    """An application with every type of feature."""
    return Settings(event=EVENT, label={"id": "tx", "value": "fraud"})


def rows_of(text: str, settings: Settings, **options) -> list:
    """Read CSV text."""
    return list(read_csv(io.BytesIO(text.encode()), settings, **options))


HEADER = "tx,at,card,amount,n,shop,abroad,fraud,secret\n"


def test_cells_take_the_configured_types(settings: Settings) -> None:
    """Numbers, integers, text and booleans are JSON's own."""
    [row] = rows_of(HEADER + "7,2018-04-01 00:00:31,c1,1.5,3,17,yes,1,x\n", settings)

    assert json.loads(row.event) == {
        "tx": "7",
        "at": "2018-04-01 00:00:31",
        "card": "c1",
        "amount": 1.5,
        "n": 3,
        "shop": "17",
        "abroad": True,
    }
    assert (row.event_id, row.entity, row.label) == ("7", "c1", 1)


def test_a_label_never_travels_inside_its_event(settings: Settings) -> None:
    """Neither do columns that are not configured: the simulator's secret of a fraud's kind."""
    [row] = rows_of(HEADER + "7,t,c1,1,3,s,no,1,x\n", settings)

    assert {"fraud", "secret"}.isdisjoint(json.loads(row.event))


def test_not_even_if_it_is_configured_as_a_feature() -> None:
    """A slip that would make a perfect model, until it meets the real world."""
    settings = Settings(event={"features": {"a": {}, "label": {"required": False}}})
    [row] = rows_of("id,a,label\n1,2,1\n", settings)

    assert json.loads(row.event) == {"id": "1", "a": 2.0}


def test_empty_cells_are_left_out(settings: Settings) -> None:
    """An optional field may be missing; a required one is the worker's to refuse."""
    [row] = rows_of(HEADER + "7,t,c1,,3,,no,,x\n", settings)

    assert {"amount", "shop"}.isdisjoint(json.loads(row.event))
    assert row.label is None


@pytest.mark.parametrize("cell", ["abc", "nan", "inf", "1,5"])
def test_what_is_no_number_is_sent_as_it_is(settings: Settings, cell: str) -> None:
    """The worker makes it a dead letter, with the text that it was."""
    [row] = rows_of(HEADER + f'7,t,c1,"{cell}",3,s,no,1,x\n', settings)

    assert json.loads(row.event)["amount"] == cell


def test_a_short_row_is_not_an_error(settings: Settings) -> None:
    """A truncated line lacks fields, which the worker will say."""
    [row] = rows_of(HEADER + "7,t\n", settings)

    assert json.loads(row.event) == {"tx": "7", "at": "t"}


def test_a_missing_column_is_named(settings: Settings) -> None:
    """Before anything is sent: the file is not this application's."""
    with pytest.raises(FileError, match="no column at, card, amount"):
        rows_of("tx,n,abroad\n1,2,no\n", settings)


def test_rows_can_be_numbered(settings: Settings) -> None:
    """`--add-id`: many public data sets have no ids."""
    text = HEADER.replace("tx,", "") + "t,c1,1,3,s,no,1,x\n" * 2

    with pytest.raises(FileError, match="--add-id"):
        rows_of(text, settings)
    assert [row.event_id for row in rows_of(text, settings, add_id=True)] == [0, 1]


def test_a_byte_order_mark_is_no_part_of_the_first_name(settings: Settings) -> None:
    """Spreadsheets write one."""
    [row] = rows_of("\ufeff" + HEADER + "7,t,c1,1,3,s,no,1,x\n", settings)

    assert row.event_id == "7"


def test_epoch_times_are_numbers() -> None:
    """A time format of epoch_s wants a number, not its text."""
    event = {"id": "i", "time": "at", "time_format": "epoch_s", "features": {"a": {}}}
    [row] = rows_of("i,at,a\n1,1289241911.5,2\n", Settings(event=event))

    assert json.loads(row.event)["at"] == 1289241911.5


def test_json_objects_pass_as_they_are(settings: Settings) -> None:
    """Bytes, order, unknown fields and all."""
    line = b'{"tx": "7",   "amount": 1.50, "unknown": [1]}'
    [row] = read_jsonl(io.BytesIO(line + b"\n\n"), settings)

    assert row.event == line
    assert (row.event_id, row.label) == ("7", None)


def test_a_label_in_json_comes_apart(settings: Settings) -> None:
    """The event is written again without it."""
    line = b'{"tx": "7", "card": 5, "amount": 1.5, "fraud": false}'
    [row] = read_jsonl(io.BytesIO(line), settings)

    assert json.loads(row.event) == {"tx": "7", "card": 5, "amount": 1.5}
    assert (row.label, row.entity) == (False, "5")


@pytest.mark.parametrize("line", [b"[1]", b"{", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_object_passes_too(settings: Settings, line: bytes) -> None:
    """The worker has a dead letter for it; a producer does not judge."""
    [row] = read_jsonl(io.BytesIO(line + b"\n"), settings)

    assert (row.event, row.event_id) == (line, None)


def test_compressed_files_are_read(settings: Settings, tmp_path: Path) -> None:
    """By the end of the name."""
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress((HEADER + "7,t,c1,1,3,s,no,1,x\n" * 3).encode()))

    with open_rows(file, settings) as source:
        assert len(list(source)) == 3
        assert source.n_bytes_read == file.stat().st_size
    assert count_rows(file) == 3


def test_a_cut_off_file_says_so(settings: Settings, tmp_path: Path) -> None:
    """Half a download is not a short file."""
    file = tmp_path / "rows.csv.gz"
    lines = "".join(f"{i},t,c{i * 7919},1,3,s,no,1,x\n" for i in range(20_000))
    data = gzip.compress((HEADER + lines).encode())
    file.write_bytes(data[: len(data) // 2])

    with pytest.raises(FileError, match="not a whole gzip"), open_rows(file, settings) as source:
        list(source)


def test_other_files_are_refused_by_name(settings: Settings, tmp_path: Path) -> None:
    """Guessing the content would be wrong some day."""
    with pytest.raises(FileError, match=r"name it \.csv"), open_rows(tmp_path / "a.xlsx", settings):
        pass


@pytest.mark.parametrize(
    ("settings", "task", "text", "label"),
    [
        (LabelSettings(), Task.BINARY, "1", 1),
        (LabelSettings(), Task.BINARY, "0.0", 0),
        (LabelSettings(), Task.BINARY, "True", True),
        (LabelSettings(), Task.BINARY, "maybe", "maybe"),
        (LabelSettings(positive="UP", negative="DOWN"), Task.BINARY, "UP", "UP"),
        (LabelSettings(), Task.MULTICLASS, "3", "3"),
        (LabelSettings(), Task.REGRESSION, "3.5", 3.5),
        (LabelSettings(), Task.REGRESSION, "x", "x"),
    ],
)
def test_labels_take_the_tasks_type(settings, task, text, label) -> None:
    """As a producer of labels would write them."""
    assert label_converter(settings, task)(text) == label
