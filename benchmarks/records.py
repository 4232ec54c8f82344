"""Events and their labels, 500 events later, as every contender and every load gets them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from confluent_kafka import KafkaError, Message, Producer

LABEL_DELAY_EVENTS = 500


class Records(ABC):
    """As many events as asked, each with a fresh id, and a label for each."""

    @abstractmethod
    def event(self, i: int) -> tuple[bytes, bytes]:
        """Key and value of the i-th event."""

    @abstractmethod
    def label(self, i: int) -> tuple[bytes, bytes]:
        """Key and value of the i-th event's label."""

    def publish(self, bootstrap: str, events: str, labels: str, n: int) -> None:
        """Write n events and their labels, in the order in which producers would have."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)

        producer = Producer(bulk_producer_config(bootstrap) | {"on_delivery": delivered})
        for i in range(n + LABEL_DELAY_EVENTS):
            if i < n:
                key, value = self.event(i)
                _produce(producer, events, key, value)
            if i >= LABEL_DELAY_EVENTS:
                key, value = self.label(i - LABEL_DELAY_EVENTS)
                _produce(producer, labels, key, value)
            if i % 1000 == 0:
                producer.poll(0)
        producer.flush()
        if failures:
            raise RuntimeError(f"the broker did not take {len(failures)} records: {failures[0]}")


def bulk_producer_config(bootstrap: str) -> dict[str, str | int | bool]:
    """Properties of a producer of backlogs: in order, large batches, only failures called back."""
    return {
        "bootstrap.servers": bootstrap,
        "linger.ms": 20,
        "enable.idempotence": True,
        "batch.num.messages": 10_000,
        "queue.buffering.max.messages": 200_000,
        "delivery.report.only.error": True,
    }


def _produce(producer: Producer, topic: str, key: bytes, value: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
        except BufferError:
            producer.poll(0.1)
        else:
            return
