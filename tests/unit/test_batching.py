"""What Faust is given for a batch of records."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from stream.batching import Batch, BatchSchema


@pytest.fixture
def _no_collections() -> Any:
    gc.disable()
    yield
    gc.enable()


def record() -> ConsumerRecord[Any, Any]:
    """Make a record as the consumer does."""
    return ConsumerRecord("events", 0, 7, 1_000, 0, b"k", b"{}", None, 1, 2, ())


@pytest.mark.usefixtures("_no_collections")
def test_a_batch_that_was_taken_frees_its_records() -> None:
    """Without the cycle collector, whose turn comes late and stops the lanes for long."""
    one = record()
    alive = weakref.ref(one)
    batch = Batch(TP("events", 0), [one])
    taken = BatchSchema().loads_value(None, batch.value)
    assert taken is batch
    assert list(taken.records) == [one]
    del one, batch, taken
    assert alive() is None
