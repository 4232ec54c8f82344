"""A model that stopped learning against one that went on, on a real stream, by the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli import app


@pytest.mark.slow
def test_frozen_after_a_tenth_it_falls_behind(data_file: Callable[[str], Path]) -> None:
    """The figures are those of a plain River loop over the same rows."""
    file = str(data_file("elec2.csv.gz"))
    arguments = ["evaluate", file, "-c", "elec2", "--add-id", "--frozen-after", "0.1", "--json"]
    report = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert report["frozen"]["after"] == 4_530
    assert report["frozen"]["frozen"]["accuracy"] == pytest.approx(0.752, abs=0.005)
    assert report["frozen"]["learning"]["accuracy"] == pytest.approx(0.821, abs=0.005)
