"""Brokers for tests that hold of the embedded one and of Kafka alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream.embedded import EmbeddedKafka


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """Address of an embedded broker."""
    with EmbeddedKafka() as server:
        yield server.bootstrap


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.real)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Address of one broker, then of the other."""
    fixture = "embedded" if request.param == "embedded" else "kafka"
    address: str = request.getfixturevalue(fixture)
    return address
