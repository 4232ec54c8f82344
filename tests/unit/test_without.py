"""What `--without` names, as people write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.lineage import Exclusion
from stream.cli.errors import CommandError
from stream.cli.without import EVENTS_MAX, exclusion
from stream.settings import Settings

SETTINGS = Settings(
    event={
        "entity": "card",
        "features": {
            "amount": {}, "n": {"type": "integer"}, "shop": {"type": "category"},
            "new": {"type": "boolean"},
        },
    }
)  # fmt: skip


def read(*texts: str, settings: Settings = SETTINGS) -> Exclusion:
    return msgspec.convert(exclusion(settings, list(texts)), Exclusion)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("offsets=3..9", {"offsets": ((3, 9),)}),
        ("time=1970-01-01..1970-01-02T00:00:01Z", {"times": ((0.0, 86_401.0),)}),
        ("events=a,b", {"events": ("a", "b")}),
        ("entity=card:c:7", {"entities": ("c:7",)}),
        ("segment=amount:2", {"features": (("amount", 2.0),)}),
        ("segment=n:2", {"features": (("n", 2),)}),
        ("segment=shop:12", {"features": (("shop", "12"),)}),
        ("segment=new:True", {"features": (("new", True),)}),
    ],
)
def test_each_kind_is_read(text: str, expected: dict[str, Any]) -> None:
    """In the types that examples have."""
    assert read(text) == Exclusion(**expected)


def test_several_add_up(tmp_path: Path) -> None:
    """A file holds an id a line."""
    (tmp_path / "ids").write_text("e1\n\n e2 \n")
    found = read("offsets=1..2", "offsets=5..6", f"events=@{tmp_path}/ids", "entity=card:c1")
    assert found == Exclusion(
        offsets=((1, 2), (5, 6)), events=("e1", "e2"), entities=("c1",)
    )  # fmt: skip


def test_an_entity_that_is_a_feature_is_found_in_old_examples_too() -> None:
    """They do not say whose they are, but what the feature was."""
    event = SETTINGS.event.model_copy(update={"entity": "shop"})
    found = read("entity=shop:12", settings=SETTINGS.model_copy(update={"event": event}))
    assert found == Exclusion(entities=("12",), features=(("shop", "12"),))


@pytest.mark.parametrize(
    "text",
    [
        "card:c1", "offsets=9..3", "offsets=a..b", "time=yesterday..now", "entity=shop:1",
        "entity=card", "entity=card:", "segment=card:c1", "segment=n:2.5", "segment=new:1",
        "segment=amount:", "events=@/no/such/file", "nonsense=1",
        "events=" + ",".join(map(str, range(EVENTS_MAX + 1))),
    ],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    """Before it is in the log of commands for ever."""
    with pytest.raises(CommandError):
        read(text)


def test_without_a_configured_entity_none_can_be_named() -> None:
    """Examples do not say whose they are then."""
    event = SETTINGS.event.model_copy(update={"entity": None})
    with pytest.raises(CommandError, match=r"event\.entity is not set"):
        read("entity=card:c1", settings=SETTINGS.model_copy(update={"event": event}))
