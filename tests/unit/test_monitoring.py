"""Metrics and probes: what Prometheus and the orchestrator are told."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from stream.http import MonitoringServer
from stream.metrics import BatchHistogram, WorkerMetrics
from stream.ports import Outcome


def test_a_batch_counts_as_its_values_one_by_one() -> None:
    """Ours must be told from prometheus_client's by nothing but speed."""
    bounds = (0.1, 1.0, 10.0)
    values = [0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 11.0]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batch = BatchHistogram(ours, "latency_seconds", "text", bounds)
    batch.observe(np.asarray(values[:3]))
    batch.observe(np.asarray(values[3:]))
    one_by_one = Histogram("latency_seconds", "text", buckets=bounds, registry=theirs)
    for value in values:
        one_by_one.observe(value)
    assert samples(ours) == samples(theirs)


def samples(registry: CollectorRegistry) -> set[str]:
    lines = generate_latest(registry).decode().splitlines()
    return {line for line in lines if not line.startswith("#") and "_created" not in line}


def test_an_outcome_is_counted_by_name_and_reason() -> None:
    """Dead letters by reason, drift by kind, level, direction and scope."""
    metrics = WorkerMetrics()
    counts = Counter({"events": 3, "scores": 2})
    counts["dead_letters", "not_json"] = 1  # type: ignore[index]
    counts["drift", "concept/confirmed/worsened/all"] = 1  # type: ignore[index]
    counts["arm_failures", "forest"] = 4  # type: ignore[index]
    metrics.count(Outcome(counts=counts))  # type: ignore[arg-type]
    text = metrics.exposition().decode()
    assert "driftline_events_total 3.0" in text
    assert 'driftline_dead_letters_total{reason="not_json"} 1.0' in text
    labels = 'direction="worsened",kind="concept",level="confirmed",scope="all"'
    assert f"driftline_drift_total{{{labels}}} 1.0" in text
    assert 'driftline_arm_failures_total{arm="forest"} 4.0' in text


def test_gauges_of_lanes_that_left_disappear() -> None:
    """A stale lag after a rebalance would page someone for another worker's lane."""
    metrics = WorkerMetrics()
    metrics.set_lanes({"score.0": 4, "label.0": 0}, {"label.0": 2})
    metrics.set_lanes({"score.1": 1}, {})
    text = metrics.exposition().decode()
    assert 'driftline_lane_lag_records{lane="score.1"} 1.0' in text
    assert "score.0" not in text
    assert "label.0" not in text


def test_probes_tell_alive_from_ready() -> None:
    """Alive at once; ready when lanes are assigned; nothing else is served."""
    missing: list[str | None] = ["lanes are not assigned"]
    server = MonitoringServer(
        "127.0.0.1", 0, metrics=lambda: b"a 1\n", readiness=lambda: missing[0]
    )
    server.start()
    try:
        base = f"http://127.0.0.1:{server.port}"
        assert get(f"{base}/healthz") == (200, "alive\n")
        assert get(f"{base}/readyz") == (503, "not ready: lanes are not assigned\n")
        missing[0] = None
        assert get(f"{base}/readyz?verbose") == (200, "ready\n")
        assert get(f"{base}/metrics") == (200, "a 1\n")
        assert get(f"{base}/table")[0] == 404
    finally:
        server.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{base}/healthz", timeout=2)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
