"""Waiting out an outage: tried again with growing pauses, told of, and over when all is done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from models.errors import CheckpointConflict, StoreUnavailable
from stream.outages import DELAY_MAX_S, LOG_EVERY_S, SLOW_S, Outage


class Server:
    """A server that is away for its first calls, and a clock that sleeping moves."""

    def __init__(self, n_failures: int) -> None:
        self.n_failures = n_failures
        self.n_calls = 0
        self.time = 100.0
        self.pauses: list[float] = []
        self.outage = Outage(
            "Redis", StoreUnavailable, now=lambda: self.time, sleep=self.sleep, random=Random(1)
        )

    async def sleep(self, seconds: float) -> None:
        assert self.outage.seconds == self.time - 100.0
        self.pauses.append(seconds)
        self.time += seconds

    async def call(self) -> str:
        self.n_calls += 1
        if self.n_calls <= self.n_failures:
            raise StoreUnavailable("gone")
        return "done"


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


def test_a_call_is_tried_again_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    """With pauses that double up to a limit, a line every ten seconds, and one at the end."""

    async def body() -> None:
        server = Server(n_failures=20)
        assert await server.outage.retry(server.call) == "done"
        assert server.n_calls == 21
        assert server.outage.n_retries == 20
        assert server.outage.seconds == 0.0
        assert all(0.025 <= pause <= DELAY_MAX_S for pause in server.pauses)
        assert max(server.pauses[:4]) < min(server.pauses[8:])
        told = [record for record in caplog.records if "is away" in record.message]
        assert len(told) == 1 + (server.time - 100.0 - 0.01) // LOG_EVERY_S
        assert "nothing waits for it any more" in caplog.messages[-1]

    with caplog.at_level(logging.WARNING):
        run(body)


def test_other_errors_go_through() -> None:
    """Another owner of the lane is no outage, neither at first nor when tried again."""

    async def body() -> None:
        server = Server(n_failures=2)

        async def fenced() -> None:
            await server.call()
            raise CheckpointConflict("another owner")

        with pytest.raises(CheckpointConflict):
            await server.outage.retry(fenced)
        assert server.n_calls == 3
        assert server.outage.seconds == 0.0

    run(body)


def test_it_lasts_until_the_last_call_is_through() -> None:
    """One lane that got on does not end the outage of another; one that is closed does."""

    async def body() -> None:
        server = Server(n_failures=1)
        stuck: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def hopeless() -> None:
            raise StoreUnavailable("gone")

        server.sleep = lambda seconds: stuck  # type: ignore[method-assign, assignment]
        server.outage._sleep = server.sleep
        waiting = asyncio.create_task(server.outage.retry(hopeless))
        await asyncio.sleep(0)
        server.time += 3.0
        assert server.outage.seconds == 3.0
        server.n_failures = 0
        assert await server.outage.retry(server.call) == "done"
        assert server.outage.seconds == 3.0
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert server.outage.seconds == 0.0

    run(body)


def test_a_server_that_does_not_answer_is_away() -> None:
    """Before the client gives the call up, which takes Kafka's 40 seconds."""

    async def body() -> None:
        server = Server(n_failures=0)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def ask() -> str:
            return await answer

        asked = asyncio.create_task(server.outage.retry(ask))
        await asyncio.sleep(0)
        server.time += SLOW_S
        assert server.outage.seconds == 0.0
        server.time += 1.0
        assert server.outage.seconds == SLOW_S + 1.0
        answer.set_result("late")
        assert await asked == "late"
        assert server.outage.seconds == 0.0

    run(body)
