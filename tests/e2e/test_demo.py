"""`driftline demo` as a user starts it: real processes, the embedded servers, a short time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.settings import PRESETS
from tests.waiting import heed_sigint

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
DEADLINE_S = 150


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTLINE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_sigint,
    )


def descendants(pid: int) -> set[int]:
    """All processes below this one, as `ps` tells them."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = [tuple(map(int, row.split())) for row in listed.splitlines()]
    found = {pid}
    while new := {child for child, parent in pairs if parent in found} - found:
        found |= new
    return found - {pid}


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_shows_what_it_promises() -> None:
    # In less, windows still tell a frozen model much of what has changed.
    demo = start("--seconds", "30", "--json")
    printed, said = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 0, said
    summary = json.loads(printed)

    # Nothing is lost: one decision for each event, each label learned once.
    assert summary["events"] > 15_000
    assert summary["scores"] == summary["events"]
    assert summary["learned"] == summary["labels"] == summary["events"]
    assert summary["dead_letters"] == {}

    before, _, after = summary["phases"]
    assert before["live"]["auc"] > 0.65
    assert before["live"]["auc"] == pytest.approx(before["frozen"]["auc"], abs=0.1)
    assert after["live"]["auc"] > 0.7
    assert after["frozen"]["auc"] < after["live"]["auc"] - 0.2
    assert after["frozen"]["ap"] < after["live"]["ap"] - 0.2
    assert any(
        d["level"] == "confirmed" and d["direction"] == "worsened" for d in summary["drifts"]
    )
    assert len(summary["versions"]) >= 2
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    assert "gone when they stop" in said


def test_ctrl_c_ends_it_with_a_summary_and_no_process_left() -> None:
    demo = start("--seconds", "60", "--json")
    assert demo.stderr is not None
    # The first line about events: it plays.
    for said in demo.stderr:
        if "events" in said:
            break
    below = descendants(demo.pid)
    assert len(below) >= 3
    demo.send_signal(signal.SIGINT)
    printed, said = demo.communicate(timeout=30)
    assert demo.returncode == 0, said
    summary = json.loads(printed)
    assert summary["interrupted"] is True
    assert summary["scores"] > 0
    time.sleep(1.0)
    assert not [pid for pid in below if is_running(pid)]


def test_a_worker_that_cannot_start_is_explained(tmp_path: Path) -> None:
    config = tmp_path / "broken.toml"
    text = (PRESETS / "fraud.toml").read_text()
    config.write_text(text.replace('pipeline = "fraud"', 'pipeline = "no-such-pipeline"'))
    demo = start("--seconds", "10", "--config", str(config))
    printed, said = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 1, printed
    assert "no-such-pipeline" in said
    assert "Traceback (most recent call last)" not in said.partition("error:")[0]
