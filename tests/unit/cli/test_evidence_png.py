"""The evidence as a picture: what is drawn is what was measured."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from models.gate import Evidence
from models.lineage import Segment
from stream.cli import app, challengers
from stream.standings import Standing

EVENT = "[event.features.a]\n"


def standing(name: str, n: int, gap: float = 0.1) -> Standing:
    """A challenger that has been compared on so many examples."""
    rng, evidence = random.Random(7), Evidence(margin=0.01)
    for _ in range(n):
        loss = rng.random() * (1.0 - gap) + gap
        evidence.add([loss], [loss - gap])
    return Standing(
        name=name, segment=Segment(lineage=2, base="v0-0", start=0, command="c"), who="ana",
        pipeline="HoeffdingTreeClassifier", state="compared", position=n, champion="v1-9",
        champion_position=n, since=0, loss="brier", evidence=evidence, advantages={}, n_bytes=1,
        fingerprint="", cost_ratio=None, objections=[], proposed=False, promotion="manual",
        time=0.0,
    )  # fmt: skip


def run(tmp_path: Path, *arguments: str) -> Any:
    file = tmp_path / "driftline.toml"
    file.write_text(EVENT)
    return CliRunner().invoke(app, ["compare", *arguments, "-c", str(file)])


def test_the_picture_shows_the_interval_the_bound_and_the_moment(tmp_path: Path) -> None:
    """One panel for each challenger, to the last example."""
    pytest.importorskip("matplotlib", reason="the extra driftline[plot] is not installed")
    from stream.cli.evidence_png import draw

    both = [standing("tree", 300), standing("equal", 70, gap=0.0)]
    figure = draw(both)
    for panel, one in zip(figure.axes, both, strict=True):
        evidence = one.evidence
        mean, bound, *gate = panel.get_lines()
        points = [*evidence.curve, evidence.point()]
        assert list(mean.get_xdata()) == [point.n for point in points]
        assert list(mean.get_ydata()) == [point.mean for point in points]
        assert set(bound.get_ydata()) == {evidence.margin}
        (band,) = panel.collections
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
        for point in points:
            assert {(point.n, point.low), (point.n, point.high)} <= corners
        assert [line.get_xdata()[0] for line in gate] == (
            [evidence.passed_at] if evidence.passed_at is not None else []
        )
        assert one.name in panel.get_title()
        low, high = panel.get_ylim()
        assert low < points[-1].low <= points[-1].high < high and low < evidence.margin < high
    assert both[0].evidence.passed_at is not None and both[1].evidence.passed_at is None


def test_the_command_writes_a_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what it prints, whatever the file is called; only of those that have been compared."""
    pytest.importorskip("matplotlib", reason="the extra driftline[plot] is not installed")
    young = msgspec.structs.replace(standing("young", 0), state="catching up")
    monkeypatch.setattr(challengers, "_standings", lambda settings: [standing("tree", 90), young])
    file = tmp_path / "evidence.picture"
    done = run(tmp_path, "--png", str(file))
    assert done.exit_code == 0, done.output
    assert "how much lower its loss is" in done.stdout and str(file) in done.stderr
    written = file.read_bytes()
    assert written.startswith(b"\x89PNG\r\n") and len(written) > 5_000
    assert int.from_bytes(written[20:24], "big") == 432, "a panel for one that was not compared"


def test_what_can_not_be_drawn_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was compared, the library is not there, or the folder is not."""
    monkeypatch.setattr(challengers, "_standings", lambda settings: [standing("young", 0)])
    done = run(tmp_path, "--png", str(tmp_path / "x.png"))
    assert (done.exit_code, "nothing to draw" in done.stderr) == (1, True)
    monkeypatch.setattr(challengers, "_standings", lambda settings: [standing("tree", 90)])
    with monkeypatch.context() as without:
        without.delitem(sys.modules, "stream.cli.evidence_png", raising=False)
        without.setitem(sys.modules, "matplotlib.figure", None)
        done = run(tmp_path, "--png", str(tmp_path / "x.png"))
    assert (done.exit_code, "driftline[plot]" in done.stderr) == (1, True)
    pytest.importorskip("matplotlib", reason="the extra driftline[plot] is not installed")
    done = run(tmp_path, "--png", str(tmp_path / "none" / "x.png"))
    assert (done.exit_code, "there is no file" in done.stderr) == (1, True)
