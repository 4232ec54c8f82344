"""Peer (c): no framework: aiokafka's `getmany`, orjson, River, dicts, and scores in whole batches.

As fast as plain Python goes on one thread, since it keeps nothing: no pending event, no position
and no model survives it, no bad record either. It loses no label, as it keeps early ones too.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.contender import POSITIVE, Job, Stopwatch, pipeline

IN_FLIGHT_MAX = 16
RECORDS_MAX = 1000


class Loop:
    """Scores events, joins labels, learns; publishes a batch of scores for each batch of events."""

    def __init__(self, job: Job, producer: AIOKafkaProducer) -> None:
        self._job = job
        self._producer = producer
        self._in_flight: list[asyncio.Future[Any]] = []
        self._model = pipeline()
        self._pending: dict[str, dict[str, float]] = {}
        self._early: dict[str, bool] = {}
        self.n_events = self.n_labels = self.n_learned = self.n_early = 0

    async def score(self, records: list[Any]) -> None:
        """Score a batch of events and publish."""
        predict, learn = self._model.predict_proba_one, self._model.learn_one
        pending, early = self._pending, self._early
        batch = self._producer.create_batch()
        for record in records:
            event = orjson.loads(record.value)
            event_id = event.pop("id")
            score = predict(event).get(True, 0.0)
            value = orjson.dumps({"id": event_id, "score": score})
            if batch.append(key=record.key, value=value, timestamp=None) is None:
                await self._send(batch)
                batch = self._producer.create_batch()
                batch.append(key=record.key, value=value, timestamp=None)
            if early and event_id in early:
                learn(event, early.pop(event_id))
                self.n_learned += 1
            else:
                pending[event_id] = event
        await self._send(batch)
        self.n_events += len(records)

    def learn(self, records: list[Any]) -> None:
        """Join a batch of labels and learn."""
        learn, pending = self._model.learn_one, self._pending
        for record in records:
            label = orjson.loads(record.value)
            event = pending.pop(label["id"], None)
            if event is None:
                self._early[label["id"]] = label["class"] == POSITIVE
                self.n_early += 1
            else:
                learn(event, label["class"] == POSITIVE)
                self.n_learned += 1
        self.n_labels += len(records)

    async def _send(self, batch: Any) -> None:
        sent = await self._producer.send_batch(batch, self._job.scores, partition=0)
        self._in_flight.append(sent)
        if len(self._in_flight) >= IN_FLIGHT_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Wait until what was published is acknowledged."""
        in_flight, self._in_flight = self._in_flight, []
        await asyncio.gather(*in_flight)


async def run(job: Job) -> None:
    watch = Stopwatch()
    consumer = AIOKafkaConsumer(bootstrap_servers=job.bootstrap, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=job.bootstrap, acks="all", max_batch_size=900_000)
    await producer.start()
    await consumer.start()
    events, labels = TopicPartition(job.events, 0), TopicPartition(job.labels, 0)
    consumer.assign([events, labels])
    loop = Loop(job, producer)
    while loop.n_learned < job.n:
        # Labels that are ahead stay with the client; it waits only when there is nothing to do.
        labels_are_ahead = loop.n_labels >= loop.n_events < job.n
        wanted = (events,) if labels_are_ahead else (events, labels)
        fetched: dict[TopicPartition, list[Any]] = {}
        for partition in wanted:
            fetched |= await consumer.getmany(partition, timeout_ms=0, max_records=RECORDS_MAX)
        if not fetched:
            fetched = await consumer.getmany(*wanted, timeout_ms=100, max_records=RECORDS_MAX)
        if events in fetched:
            watch.start()
            await loop.score(fetched[events])
        if labels in fetched:
            loop.learn(fetched[labels])
    await loop.flush()
    watch.answer(job, learned=loop.n_learned, n_early=loop.n_early)


if __name__ == "__main__":
    uvloop.run(run(Job.from_command_line()))
