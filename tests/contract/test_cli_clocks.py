"""The clocks on the command line: shown once, and served."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request

from models.types import Example
from stream.messages import encode_json
from tests.contract.test_cli_with_servers import Application, application, ready

__all__ = ["application", "ready"]

N, N_LABELLED = 40, 10


def decision(i: int, score: float) -> bytes:
    """Write a decision as a worker publishes it."""
    body = {
        "event_id": f"e{i}", "score": score, "decision": "pass", "threshold": 0.5,
        "version": "v1-1", "model_position": 1, "event_time": float(i), "entity": None,
        "partition": 0, "offset": i, "stale": False, "arm": "champion", "schema": 1,
    }  # fmt: skip
    return json.dumps(body).encode()


def publish(one: Application) -> None:
    """Decisions of certain scores, and labels of the first of them, one of which is another."""
    one.publish("scores", [decision(i, 0.1 if i % 2 else 0.8) for i in range(N)])
    labelled = [
        Example(
            f"e{i}", {"a": 1.0}, i % 2 == 0 and i > 0, 0.1 if i % 2 else 0.8, "v1-1", 1, float(i),
            i + 1.0, "labels/0", i, i,
        )
        for i in range(N_LABELLED)
    ]  # fmt: skip
    one.publish("examples", [encode_json(example) for example in labelled])


def test_the_clocks_are_shown(ready: Application) -> None:
    """Matured by labels, estimated by scores, and how many are labelled."""
    assert "nothing has been scored" in ready.run("clocks").stdout
    publish(ready)
    found = ready.run_json("clocks")
    assert found["matured"]["n"] == N_LABELLED
    assert found["matured"]["total"]["accuracy"] == 0.9
    assert found["estimated"]["n"] == N - N_LABELLED
    assert abs(found["estimated"]["metrics"]["accuracy"] - 0.85) < 1e-9
    assert sum(one["n"] for one in found["coverage"]) == N
    assert sum(one["n_labelled"] for one in found["coverage"]) == N_LABELLED
    shown = ready.run("clocks").stdout
    assert "labelled: 10 of 40 events (25.0%)" in shown
    assert "scores taken as probabilities" in shown


def test_the_clocks_are_served(ready: Application) -> None:
    """To Prometheus, until it is ended."""
    publish(ready)
    command = [sys.executable, "-m", "stream", "clocks", "--serve", "0", "--every", "100ms"]
    process = subprocess.Popen([*command, "-c", str(ready.file)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        where = next(found for line in process.stderr if (found := re.search(r"http://\S+", line)))
        with urllib.request.urlopen(where[0].rstrip(";"), timeout=10) as answer:
            shown = answer.read().decode()
        assert f"driftline_clock_waiting_events {N - N_LABELLED}.0" in shown
    finally:
        process.kill()
        process.wait()
