"""What a reader adds to aiokafka's fetcher; a real broker is read in the end-to-end tests."""

from __future__ import annotations

import asyncio

import pytest

from stream.record_reader import rest_after_fetches

REST_S = 0.02


class FakeFetcher:
    """Notes when which broker was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []

    async def _proc_fetch_request(self, assignment: object, node: int, request: object) -> bool:
        self.asked.append((node, asyncio.get_running_loop().time()))
        if request == "fail":
            raise ConnectionError
        if request == "back off":
            await asyncio.Event().wait()
        return True


def test_a_broker_is_asked_again_after_a_rest_and_others_at_once() -> None:
    """Also after a request that failed: it is tried again at once otherwise."""

    async def run() -> list[tuple[int, float]]:
        fetcher = FakeFetcher()
        rest_after_fetches(fetcher, REST_S)
        assert await fetcher._proc_fetch_request(None, 1, "records")
        assert await fetcher._proc_fetch_request(None, 2, "records")
        try:
            await fetcher._proc_fetch_request(None, 1, "fail")
        except ConnectionError:
            await fetcher._proc_fetch_request(None, 1, "records")
        return fetcher.asked

    (_, first), (other, at_once), (_, second), (_, third) = asyncio.run(run())
    assert other == 2
    assert at_once - first < REST_S
    assert second - first >= REST_S
    assert third - second >= REST_S


@pytest.mark.parametrize("request_", ["records", "back off"])
def test_a_fetch_that_is_given_up_ends_quietly(request_: str) -> None:
    """At rest, or while aiokafka waits after an error: who stops the consumer awaits it."""

    async def run() -> bool:
        fetcher = FakeFetcher()
        rest_after_fetches(fetcher, 60.0 if request_ == "records" else 0.0)
        await fetcher._proc_fetch_request(None, 1, "records")
        fetch = asyncio.create_task(fetcher._proc_fetch_request(None, 1, request_))
        await asyncio.sleep(0)
        assert not fetch.done()
        fetch.cancel()
        return await fetch

    assert asyncio.run(run()) is False
