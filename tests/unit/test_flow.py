"""The topology as text and as a picture: the same lanes, logs and arrows, and no others."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from stream.cli import app
from stream.flow import describe, flow
from stream.flow_picture import picture
from stream.settings import PRESETS, Settings, load_settings
from stream.topology import inputs

DOCS = Path(__file__).resolve().parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"
CARD, TERMINAL, MERCHANT = ({"type": "category"} for _ in range(3))
WINDOW = {"entity": "CARD", "value": "AMOUNT", "windows": ["1d", "7d"], "stats": ["count", "mean"]}


def risk(entity: str) -> dict[str, Any]:
    """Ask for the risk of an entity."""
    return {"entity": entity, "windows": ["1d"], "delay": "7d"}


def configured(**sections: Any) -> Settings:
    """Make settings of card payments."""
    event = {
        "entity": "CARD",
        "features": {"AMOUNT": {}, "CARD": CARD, "TERMINAL": TERMINAL, "MERCHANT": MERCHANT},
    }
    return Settings(app="pay", **{"event": event, **sections})


SETTINGS = {
    "plain": configured(),
    "own entity": configured(features={"window": [WINDOW]}),
    "two further": configured(
        features={"window": [WINDOW], "risk": [risk("TERMINAL"), risk("MERCHANT")]},
        join={"negative_after": "5d"},
        challengers={"max": 0},
    ),
    "further without own": configured(
        features={"risk": [risk("TERMINAL")]}, drift={"label_free": False}
    ),
    "anomalies": configured(model={"task": "anomaly", "pipeline": "half-space-trees"}),
    **{path.stem: load_settings(path.stem) for path in sorted(PRESETS.glob("*.toml"))},
}
EACH = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


def drawn(settings: Settings) -> ElementTree.Element:
    """Draw a topology, and read it as the XML that it has to be."""
    return ElementTree.fromstring(picture(flow(settings), "a title"))


def boxes(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Find what stands in a picture, by name."""
    found = [group for group in root.iter(f"{SVG}g") if group.get("data-name")]
    by_name = {str(group.get("data-name")): group for group in found}
    assert len(by_name) == len(found)
    return by_name


def arrows(root: ElementTree.Element) -> list[tuple[str, str]]:
    """List the arrows of a picture."""
    paths = [path for path in root.iter(f"{SVG}path") if path.get("data-from")]
    return sorted((str(path.get("data-from")), str(path.get("data-to"))) for path in paths)


def told(settings: Settings) -> tuple[list[tuple[str, str]], dict[str, list[str]]]:
    """Read the arrows, and what each lane adds, out of the text."""
    found, adds, read, lane = [], {}, [], ""
    for line in describe(settings):
        match line[: len(line) - len(line.lstrip())], line.split():
            case "", _:
                read = re.sub(r", by [^,]+", "", line).split(", ")
            case "  ", [*words]:
                lane, written = line.strip().split(" -> ")
                found += [(topic, lane) for topic in read]
                found += [(lane, topic) for topic in written.split(", ")]
                adds[lane] = []
            case _, ["keep", *words]:
                found += [(lane, store) for store in " ".join(words).split(", ")]
            case _, ["look", "up", *words]:
                found += [(store, lane) for store in " ".join(words).split(", ")]
            case _, ["+", name]:
                adds[lane].append(name)
            case other:
                raise AssertionError(other)
    return sorted(found), adds


@EACH
def test_the_picture_is_what_the_text_says(settings: Settings) -> None:
    """Every lane, log and store of it, every arrow, and nothing besides."""
    root = drawn(settings)
    expected, adds = told(settings)
    assert arrows(root) == expected
    assert set(boxes(root)) == {name for arrow in expected for name in arrow}
    for lane, names in adds.items():
        texts = [text.text for text in boxes(root)[lane].iter(f"{SVG}text")]
        assert texts == [lane, *(f"+ {name}" for name in names)]


@EACH
def test_the_text_is_what_the_worker_reads(settings: Settings) -> None:
    """A lane for each log that workers subscribe to, and commands."""
    read = [topic for lane in flow(settings).lanes for topic in lane.reads]
    subscribed = [topic.full_name(settings.app) for topic in inputs(settings)]
    assert read == [*subscribed, f"{settings.app}.control"]


def test_only_what_is_configured_is_there() -> None:
    """Shadows of challengers, negatives of silence, drift without labels, facts for risks."""
    found = {name: set(told(settings)[0]) for name, settings in SETTINGS.items()}
    has = {
        ("score lanes", "pay.shadows"): {"plain", "own entity", "further without own", "anomalies"},
        ("score lanes", "pay.examples"): {"two further", "anomalies"},
        ("score lanes", "pay.drift"): {"plain", "own entity", "two further", "anomalies"},
        ("enrich lanes", "pay.by-TERMINAL"): {"two further", "further without own"},
        ("label lanes", "pay.by-TERMINAL"): {"two further", "further without own"},
        ("label lanes", "pay.by-MERCHANT"): {"two further"},
        ("enrich1 lanes", "pay.by-MERCHANT"): {"two further"},
        ("score lanes", "pasts of CARD"): {"own entity"},
        ("enrich lanes", "pasts of CARD"): {"two further"},
        ("score lanes", "pasts of MERCHANT"): {"two further"},
    }
    for arrow, names in has.items():
        assert {name for name, arrows in found.items() if arrow in arrows} == names, arrow


def test_a_log_of_windows_alone_hears_of_no_labels() -> None:
    """Facts are for risks."""
    window = {**WINDOW, "entity": "TERMINAL"}
    found, _ = told(configured(features={"window": [window]}))
    assert ("enrich lanes", "pay.by-TERMINAL") in found
    assert ("label lanes", "pay.by-TERMINAL") not in found


def rectangle(group: ElementTree.Element) -> tuple[float, float, float, float]:
    """Give left, top, right and bottom of a box, which its texts have to stay within."""
    left, top = map(float, re.findall(r"[\d.]+", str(group.get("transform"))))
    if (rect := group.find(f"{SVG}rect")) is not None:
        width, height = float(str(rect.get("width"))), float(str(rect.get("height")))
    else:
        # A cylinder: the side, and half the width and half the height of its two lids.
        (path,) = group.iter(f"{SVG}path")
        side, half, lid = re.match(
            r"M0 [\d.]+v([\d.]+)a([\d.]+) ([\d.]+)", path.attrib["d"]
        ).groups()
        width, height = 2 * float(half), float(side) + 2 * float(lid)
    for text in group.iter(f"{SVG}text"):
        assert float(str(text.get("y"))) + 4 <= height
        assert float(str(text.get("x"))) + 7.3 * len(str(text.text)) <= width
    return left, top, left + width, top + height


def on_edge(x: float, y: float, box: tuple[float, float, float, float]) -> bool:
    """Whether a point is on the outline of a box, to a pixel."""
    left, top, right, bottom = box
    is_within = left - 1 <= x <= right + 1 and top - 1 <= y <= bottom + 1
    return is_within and min(abs(x - left), abs(x - right), abs(y - top), abs(y - bottom)) <= 1


@EACH
def test_nothing_lies_on_anything_else(settings: Settings) -> None:
    """Boxes are apart, within the picture, and their texts within them."""
    root = drawn(settings)
    width, height = float(str(root.get("width"))), float(str(root.get("height")))
    places = {name: rectangle(group) for name, group in boxes(root).items()}
    for one, other in combinations(places, 2):
        a, b = places[one], places[other]
        apart = a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]
        assert apart, (one, other)
    for left, top, right, bottom in places.values():
        assert left > 0
        assert top > 0
        assert right < width
        assert bottom < height


@EACH
def test_arrows_end_at_the_edges_of_their_boxes(settings: Settings) -> None:
    """An arrow that ends in the void, or beneath a box, shows nothing."""
    root = drawn(settings)
    places = {name: rectangle(group) for name, group in boxes(root).items()}
    for path in root.iter(f"{SVG}path"):
        if path.get("data-from") is None:
            continue
        start, end = ends(path.attrib["d"])
        assert on_edge(*start, places[path.attrib["data-from"]]), path.attrib
        assert on_edge(*end, places[path.attrib["data-to"]]), path.attrib


def ends(way: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give where a path begins and ends: absolute, but for the way to dead letters."""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", way)]
    if "h" in way:  # M x y h trunk V y H x
        return (numbers[0], numbers[1]), (numbers[4], numbers[3])
    return (numbers[0], numbers[1]), (numbers[-2], numbers[-1])


def test_hostile_names_are_text() -> None:
    """Names of features come from a file and end in a page: markup in them is shown, not obeyed."""
    hostile = "<script>alert('x')</script>&amp;\"\x07"
    event = {"entity": hostile, "features": {hostile: {"type": "category"}, f"{hostile}<": {}}}
    window = {**WINDOW, "entity": hostile, "value": f"{hostile}<"}
    settings = configured(event=event, features={"window": [window]})
    source = picture(flow(settings), f"of {hostile}")
    assert "<script" not in source
    assert "\x07" not in source
    root = ElementTree.fromstring(source)
    seen = hostile.replace("\x07", "\N{REPLACEMENT CHARACTER}")
    assert f"pasts of {seen}" in boxes(root)
    assert f"of {seen}" == root.findtext(f"{SVG}title")
    assert len(arrows(root)) == len(told(settings)[0])


def test_the_same_configuration_gives_the_same_picture(tmp_path: Path) -> None:
    """By the command, into a file; the page's one is that of the shipped configuration."""
    file = tmp_path / "fraud.svg"
    result = CliRunner().invoke(app, ["topology", "-c", "fraud", "--svg", str(file)])
    assert (result.exit_code, result.stdout) == (0, "")
    # After a change: driftline topology -c fraud --svg docs/topology.svg
    assert (DOCS / "topology.svg").read_text(encoding="utf-8") == file.read_text(encoding="utf-8")
    assert "](topology.svg)" in (DOCS / "architecture.md").read_text(encoding="utf-8")


def test_a_file_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    """One line, and no stack trace."""
    file = tmp_path / "no" / "fraud.svg"
    result = CliRunner().invoke(app, ["topology", "-c", "fraud", "--svg", str(file)])
    assert result.exit_code == 1
    assert "No such file" in result.stderr
