"""Prometheus: the names, and what is told to them; the only importer of prometheus_client.

Why own histograms: `Histogram.observe` costs a microsecond and a lock a value; counts of a whole
batch are made by numpy and handed over when scraped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from models.importance import Means
from stream.clocks import Reading
from stream.outages import Outage
from stream.ports import Outcome, Record

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
DELAY_BUCKETS_S = (1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)
COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

FEATURES_MAX = 50
"""Features whose importance is told: a pipeline may make one of every category that it meets."""

_COUNTERS = {
    "events": ("events_total", "Events taken from the events topic."),
    "scores": ("scores_total", "Decisions published."),
    "alerts": ("alerts_total", "Decisions that were alerts."),
    "labels": ("labels_total", "Labels taken from the labels topic."),
    "early_labels": ("labels_early_total", "Labels that came before their event and waited."),
    "examples": ("examples_total", "Examples appended to the examples log."),
    "corrections": ("corrections_total", "Examples of a label that corrects an earlier truth."),
    "negatives": ("negatives_total", "Examples of events that nobody labelled in time."),
    "own_features": ("examples_own_features_total", "Examples of labels without an event."),
    "learned": ("learned_total", "Examples learned."),
    "redelivered_events": ("events_redelivered_total", "Events whose decision stood already."),
    "redelivered_examples": ("examples_redelivered_total", "Examples skipped as learned before."),
    "versions": ("versions_cut_total", "Versions cut."),
    "re_keyed": ("rekeyed_total", "Records taken from logs by a further entity."),
    "late_events": ("events_late_total", "Events later than features.lateness."),
    "entities_asked": ("entities_asked_total", "Entities looked for in Redis."),
    "entity_events_dropped": (
        "entity_events_dropped_total",
        "Events beyond features.entity_events_max of their entity.",
    ),
}


_ARM_COUNTERS = {
    "arm_scores": "Decisions that a challenger made, by challenger.",
    "arm_failures": "Events that a challenger could not score, by challenger.",
    "shadow_scores": "Scores published unserved, by challenger.",
    "shadow_disagreements": "Those that would have been decided otherwise, by challenger.",
}


class BatchHistogram(Collector):
    """A histogram that takes a batch of values at once."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, buckets: Sequence[float]
    ) -> None:
        self._name, self._text = name, text
        self._bounds = np.asarray(buckets)
        self._counts = np.zeros(len(buckets) + 1, dtype=np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: np.ndarray[Any, Any]) -> None:
        """Count the values."""
        places = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give cumulative counts, as Prometheus wants them."""
        cumulative = np.cumsum(self._counts)
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        family = HistogramMetricFamily(self._name, self._text)
        family.add_metric([], list(zip(bounds, cumulative.tolist(), strict=True)), self._sum)
        yield family


class WorkerMetrics:
    """Everything a worker tells Prometheus."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._counters = {key: self._counter(name, text) for key, (name, text) in _COUNTERS.items()}
        self._dead_letters = self._counter(
            "dead_letters_total", "Unusable records, by reason.", "reason"
        )
        self._refused = self._counter(
            "versions_refused_total", "Stored versions that did not verify, by reason.", "reason"
        )
        self._drift = self._counter(
            "drift_total",
            "Drift signals, by kind, level, direction, and whether of all or of a segment.",
            "kind", "level", "direction", "scope",
        )  # fmt: skip
        self._by_arm = {
            key: self._counter(f"{key}_total", text, "arm") for key, text in _ARM_COUNTERS.items()
        }
        self._latency = self._histogram(
            "score_latency_seconds", "From an event's Kafka timestamp to its score's ack.",
            LATENCY_BUCKETS_S,
        )  # fmt: skip
        self._delay = self._histogram(
            "label_delay_seconds", "From an event to its label, in event time.", DELAY_BUCKETS_S
        )
        self._commit = self._histogram(
            "commit_duration_seconds", "Of publishing and committing a batch.", COMMIT_BUCKETS_S
        )
        self._lag = self._gauge("lane_lag_records", "Records that a lane is behind.", "lane")
        self._waiting = self._gauge("labels_waiting", "Labels waiting for their event.", "lane")
        self._prequential = self._gauge(
            "prequential", "Prequential metric by scope: total, rolling or baselines.",
            "scope", "metric",
        )  # fmt: skip
        self._version_age = self._gauge("version_age_seconds", "Since the last version was cut.")
        self._model_bytes = self._gauge("model_bytes", "Size of the last version's state.")
        self._model_position = self._gauge("model_position", "Examples offset of the model in use.")
        self._staleness = self._gauge(
            "model_staleness_seconds", "Since the snapshot in use was known to be the newest."
        )
        self._importance = self._gauge(
            "feature_importance",
            "Mean absolute contribution to the scores explained last, in their unit.",
            "feature", "unit",
        )  # fmt: skip
        self._entities = self._gauge("entities", "Entities in memory.", "lane")
        self._entity_bytes = self._gauge("entity_bytes", "What they take in memory.", "lane")
        self._outage = self._gauge(
            "outage_seconds", "How long work has waited for a server that is away.", "server"
        )
        self._retries = self._gauge(
            "outage_retries", "Calls tried again because a server was away, so far.", "server"
        )
        self._lanes_owned = self._gauge("lanes_owned", "Lanes open on this worker.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"driftline_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"driftline_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> BatchHistogram:
        return BatchHistogram(self.registry, f"driftline_{name}", text, buckets)

    def count(self, outcome: Outcome) -> None:
        """Add an outcome's counts."""
        for key, n in outcome.counts.items():
            if isinstance(key, str):
                self._counters[key].inc(n)
            elif key[0] == "dead_letters":
                self._dead_letters.labels(key[1]).inc(n)
            elif key[0] in self._by_arm:
                self._by_arm[key[0]].labels(key[1]).inc(n)
            else:
                self._drift.labels(*key[1].split("/")).inc(n)

    def count_refused(self, reason: str) -> None:
        """Count a stored version that is not used."""
        self._refused.labels(reason).inc()

    def observe_latency(self, records: Sequence[Record], now: float) -> None:
        """Note how long these events took from Kafka's timestamp to their score."""
        stamps = np.fromiter((r.timestamp for r in records), dtype=np.float64, count=len(records))
        self._latency.observe(now - stamps / 1000.0)

    def observe_delays(self, delays: Sequence[float]) -> None:
        """Note labels' delays in seconds of event time."""
        if delays:
            self._delay.observe(np.asarray(delays))

    def observe_commit(self, seconds: float) -> None:
        """Note how long publishing and committing a batch took."""
        self._commit.observe(np.asarray([seconds]))

    def set_lanes(self, lags: Mapping[str, int], waiting: Mapping[str, int]) -> None:
        """Replace the lanes' gauges; those of lanes that left disappear with them."""
        for gauge, values in ((self._lag, lags), (self._waiting, waiting)):
            gauge.clear()
            for lane, value in values.items():
                gauge.labels(lane).set(value)
        self._lanes_owned.set(len(lags))

    def set_entities(self, entities: Mapping[str, tuple[int, int]]) -> None:
        """Tell how many entities each lane has in memory, and in how many bytes."""
        self._entities.clear()
        self._entity_bytes.clear()
        for lane, (n, n_bytes) in entities.items():
            self._entities.labels(lane).set(n)
            self._entity_bytes.labels(lane).set(n_bytes)

    def set_model(self, position: int, staleness_s: float) -> None:
        """Tell which model scores here."""
        self._model_position.set(position)
        self._staleness.set(staleness_s)

    def set_importance(self, means: Means | None) -> None:
        """Tell which features matter most; those that no longer do disappear."""
        self._importance.clear()
        if means is not None:
            for feature, value in islice(means.values.items(), FEATURES_MAX):
                self._importance.labels(feature, means.unit).set(value)

    def set_version(self, n_bytes: int, age_s: float) -> None:
        """Tell of the last version that this worker cut or loaded."""
        self._model_bytes.set(n_bytes)
        self._version_age.set(age_s)

    def set_outages(self, outages: Sequence[Outage]) -> None:
        """Tell which servers are away."""
        for outage in outages:
            self._outage.labels(outage.server).set(outage.seconds)
            self._retries.labels(outage.server).set(outage.n_retries)

    def set_prequential(self, values: Mapping[str, Any]) -> None:
        """Publish prequential metrics, as `Learner.metrics` gives them."""
        for scope in ("total", "rolling", "baselines"):
            for metric, value in values.get(scope, {}).items():
                self._prequential.labels(scope, metric).set(value)

    def clear_prequential(self) -> None:
        """Forget the prequential metrics: the learn lane went to another worker."""
        self._prequential.clear()

    def exposition(self) -> bytes:
        """Write the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class ClockMetrics:
    """What `driftline clocks --serve` tells Prometheus."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        age = "by age: younger than so many seconds, older than the next smaller."
        self._events = self._gauge("clock_events", f"Scored events, {age}", "younger_than")
        self._labelled = self._gauge(
            "clock_labelled_events", f"Those that are labelled, {age}", "younger_than"
        )
        self._estimate = self._gauge(
            "clock_estimate", "Estimated metric on events that wait for labels.", "metric"
        )
        self._waiting = self._gauge("clock_waiting_events", "Events that the estimate is about.")
        self._calibrated = self._gauge(
            "clock_calibrated_labels", "Labels that say what a score means; 0: not calibrated."
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"driftline_{name}", text, labels, registry=self.registry)

    def show(self, reading: Reading) -> None:
        """Replace what the clocks said before."""
        for gauge in (self._events, self._labelled, self._estimate):
            gauge.clear()
        for one in reading.coverage:
            self._events.labels(f"{one.younger_than:g}").set(one.n)
            self._labelled.labels(f"{one.younger_than:g}").set(one.n_labelled)
        if reading.estimated is not None:
            for metric, value in reading.estimated.metrics.items():
                self._estimate.labels(metric).set(value)
            self._waiting.set(reading.estimated.n)
            self._calibrated.set(reading.estimated.n_calibrated)

    def exposition(self) -> bytes:
        """Write the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
