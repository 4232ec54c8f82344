"""Load at a steady rate, and how long each event takes until a consumer has its score.

Measured in one process on one clock: from the event's CreateTime, which is when it was due and
handed to the producer, to the arrival of its score at a bare consumer. So the producer's linger,
both trips through the broker and the consumer's wake-up are in it.
"""

from __future__ import annotations

import gc
import sys
import threading
import time

import msgspec
from confluent_kafka import TIMESTAMP_CREATE_TIME, Consumer, Producer, TopicPartition

from benchmarks.cards import Cards
from benchmarks.contender import LatencyResult, LoadJob
from benchmarks.elec2 import Elec2
from benchmarks.records import LABEL_DELAY_EVENTS, Records

TICK_S = 0.002
DRAIN_S = 10.0
RECORDS: dict[str, type[Records]] = {"elec2": Elec2, "cards": Cards}


class Load:
    """Publishes in one thread, receives in another."""

    def __init__(self, job: LoadJob) -> None:
        self._job = job
        self._data = RECORDS[job.records]()
        self._n_warm = int(job.rate * job.warm_up_s)
        self._n = self._n_warm + int(job.rate * job.measure_s)
        self._sent = [0.0] * self._n
        self._late = [0.0] * self._n
        self._arrived = [0.0] * self._n
        self._stamped = [0.0] * self._n

    def run(self) -> LatencyResult:
        """Run the whole load."""
        gc.disable()
        receiver = threading.Thread(target=self._receive, daemon=True)
        receiver.start()
        time.sleep(1.0)
        self._publish()
        receiver.join()
        return self._result()

    def _publish(self) -> None:
        job, data = self._job, self._data
        producer = Producer(
            {
                "bootstrap.servers": job.bootstrap,
                # The default of producers: librdkafka's, and Java's since 4.0 (KIP-1030).
                "linger.ms": 5,
                "acks": "1",
                "delivery.report.only.error": True,
            }
        )
        producer.list_topics(job.events, timeout=10)
        produce, now = producer.produce, time.time
        began, published = now() + 0.1, 0
        while published < self._n:
            due = min(self._n, int((now() - began) * job.rate) + 1)
            for i in range(published, due):
                key, value = data.event(i)
                moment = now()
                self._sent[i] = moment
                self._late[i] = moment - began - i / job.rate
                produce(job.events, value, key, timestamp=int(moment * 1000))
                if i >= LABEL_DELAY_EVENTS:
                    key, value = data.label(i - LABEL_DELAY_EVENTS)
                    produce(job.labels, value, key)
            published = max(published, due)
            producer.poll(0)
            time.sleep(TICK_S)
        producer.flush()

    def _receive(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._job.bootstrap,
                "group.id": f"{self._job.scores}.latency",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                # Without it librdkafka rests half a second after it has filled its queue.
                "fetch.queue.backoff.ms": 1,
            }
        )
        consumer.assign([TopicPartition(self._job.scores, 0, 0)])
        last, n_seen = time.monotonic(), 0
        while n_seen < self._n and time.monotonic() - last < self._job.warm_up_s + DRAIN_S:
            first = consumer.poll(0.1)
            if first is None:
                continue
            # What came with it, without waiting for more: a busy receiver is noise to the worker.
            messages = [first, *consumer.consume(10_000, 0)]
            now = time.time()
            for message in messages:
                if message.error() is not None:
                    continue
                i = int(message.key())
                kind, stamp = message.timestamp()
                assert kind == TIMESTAMP_CREATE_TIME, kind
                if not self._arrived[i]:
                    self._arrived[i], self._stamped[i] = now, stamp / 1000.0
                    n_seen += 1
                last = time.monotonic()
        consumer.close()

    def _result(self) -> LatencyResult:
        measured = range(self._n_warm, self._n)
        there = [i for i in measured if self._arrived[i]]
        waits = sorted(self._arrived[i] - self._sent[i] for i in there)
        stamped = sorted(self._stamped[i] - int(self._sent[i] * 1000) / 1000.0 for i in there)
        late = sorted(self._late[i] for i in measured)
        return LatencyResult(
            rate=self._job.rate,
            n=len(there),
            lost=len(measured) - len(there),
            p50_ms=_percentile(waits, 0.50),
            p95_ms=_percentile(waits, 0.95),
            p99_ms=_percentile(waits, 0.99),
            max_ms=_percentile(waits, 1.0),
            stamped_p50_ms=_percentile(stamped, 0.50),
            stamped_p99_ms=_percentile(stamped, 0.99),
            late_p99_ms=_percentile(late, 0.99),
        )


def _percentile(ordered: list[float], share: float) -> float:
    return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main() -> None:
    result = Load(msgspec.json.decode(sys.argv[1], type=LoadJob)).run()
    print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    main()
