"""What lies between a worker and its servers, with all that can go wrong there.

A call to the store may be refused, may happen though its answer is lost, may take long, and, given
up and made again, may still happen long after: the first one lay in the socket of a dead
connection. Kafka may take a part of what is published and not say so, and take the rest when
nobody waits for it any more. The real `Outage` waits and tries again, on virtual time.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from models.errors import CheckpointConflict, StoreUnavailable
from models.stores.memory import MemoryStore
from stream.outages import Outage
from stream.outbox import PublishFailed
from stream.ports import Message
from tests.simulation.ports import Log, VirtualClock, finish, yield_point


class Faults(NamedTuple):
    """How likely what is: by scheduling decision, or (the second part) by call."""

    crash: float = 0.0
    handover: float = 0.0
    zombie: float = 0.0
    paused_worker: float = 0.0
    rebalance: float = 0.0
    store_outage: float = 0.0
    kafka_outage: float = 0.0
    clock_jump: float = 0.0

    redelivery: float = 0.0
    lost_answer: float = 0.0
    slow_store: float = 0.0
    unacknowledged: float = 0.0


class Network:
    """The way to Redis and Kafka, which all workers share.

    Parameters
    ----------
    reached
        Counts which faults there were.

    `robbed` are lanes that were acquired by nobody: their owners are fenced and must start again.
    """

    def __init__(
        self, rng: random.Random, clock: VirtualClock, log: Log, reached: Counter[str]
    ) -> None:
        self.faults = Faults()
        self._rng = rng
        self._clock = clock
        self._log = log
        self._reached = reached
        self._away_until = {"Redis": 0.0, "Kafka": 0.0}
        self._late: list[tuple[str, Callable[[], Any]]] = []
        self.robbed: set[str] = set()

    def interrupt(self, server: str, seconds: float) -> None:
        """Take a server away for a while."""
        self._away_until[server] = self._clock.now() + seconds
        self._reached[f"{server} away"] += 1

    def mend(self) -> None:
        """Bring all servers back; what was late arrives."""
        self.faults = Faults()
        self._away_until = dict.fromkeys(self._away_until, 0.0)
        while self._late:
            self.deliver_late()

    def deliver_late(self) -> None:
        """Let something arrive that nobody waits for any more, if there is anything."""
        if not self._late:
            return
        what, happen = self._late.pop(self._rng.randrange(len(self._late)))
        self._reached[f"late {what}"] += 1
        try:
            happen()
        except CheckpointConflict:
            self._reached["late and fenced"] += 1

    def outage(self, server: str, away: type[Exception], now: Callable[[], float]) -> Outage:
        """Make what a worker waits with."""
        return Outage(server, away, now=now, sleep=self._clock.sleep, random=self._rng)

    async def ask_store(self, what: str, acquired: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call of the store, unless something comes between."""
        await yield_point()
        faults = self.faults
        if self._clock.now() < self._away_until["Redis"]:
            self._miss(what, acquired, call)
        if faults.slow_store and self._rng.random() < faults.slow_store:
            self._reached["slow store"] += 1
            await self._clock.sleep(self._rng.uniform(0.1, 3.0))
        if faults.lost_answer and self._rng.random() < faults.lost_answer:
            if self._rng.random() < 0.5:
                await call()
            self._reached["answer lost"] += 1
            # Or it was the question that did not arrive, not yet.
            self._send_late(what, acquired, call)
            raise StoreUnavailable("Redis: the answer was lost")
        result = await call()
        await yield_point()
        return result

    def _miss(self, what: str, acquired: str, call: Callable[[], Awaitable[Any]]) -> None:
        # Refused, or on its way for longer than anybody waits.
        self._send_late(what, acquired, call)
        raise StoreUnavailable("Redis: connection refused")

    def _send_late(self, what: str, acquired: str, call: Callable[[], Awaitable[Any]]) -> None:
        if self._rng.random() < 0.3:
            self._late.append((what, lambda: self._happen_late(acquired, call)))

    def _happen_late(self, acquired: str, call: Callable[[], Awaitable[Any]]) -> None:
        self.robbed.add(acquired)
        finish(_awaited(call))

    async def ask_kafka(self, messages: Sequence[Message]) -> None:
        """Append messages, one at a time: a crash, or an outage, may leave a prefix behind."""
        faults = self.faults
        n_taken = len(messages)
        if self._clock.now() < self._away_until["Kafka"]:
            n_taken = 0
        elif faults.unacknowledged and self._rng.random() < faults.unacknowledged:
            n_taken = self._rng.randrange(len(messages) + 1)
        else:
            n_taken = -1
        for message in messages if n_taken < 0 else messages[:n_taken]:
            await yield_point()
            self._log.append(*message)
        await yield_point()
        if n_taken >= 0:
            self._fail(messages[n_taken:])

    def _fail(self, rest: Sequence[Message]) -> None:
        self._reached["not acknowledged"] += 1
        if rest and self._rng.random() < 0.3:
            self._late.append(("publish", lambda: self._take(rest)))
        raise PublishFailed("Kafka did not take the records: request timed out")

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._log.append(*message)


async def _awaited(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


class SimOutbox:
    """Publishes through the network, again while Kafka is away."""

    def __init__(self, network: Network, outage: Outage) -> None:
        self._network = network
        self._outage = outage

    async def publish(self, messages: Sequence[Message]) -> None:
        if messages:
            await self._outage.retry(lambda: self._network.ask_kafka(messages))


class SimStore:
    """A memory store behind the network, asked again while it is away.

    Every call can be interrupted before and after it takes effect.
    """

    def __init__(self, store: MemoryStore, network: Network, outage: Outage) -> None:
        self._store = store
        self._network = network
        self._outage = outage

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            attempt = self._attempt(name, args, kwargs)
            acquired = str(args[0]) if name == "acquire" else ""
            return await self._outage.retry(
                lambda: self._network.ask_store(name, acquired, attempt)
            )

        return call

    def _attempt(self, name: str, args: Any, kwargs: Any) -> Callable[[], Awaitable[Any]]:
        # A commit keeps its number however often it is tried.
        if name == "commit":
            return self._store.prepare_commit(*args, **kwargs)
        if name == "cut_version":
            return self._store.prepare_cut(*args, **kwargs)
        return lambda: getattr(self._store, name)(*args, **kwargs)
