"""The handler of a stage before the last: events in, the same with more features on, by entity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from models.features import LabelFact
from models.stores.base import LaneStore, Lease
from stream.decoding import Event
from stream.derived import Stage
from stream.intake import Decoder, take_in
from stream.ports import Outcome, Record
from stream.re_keyed import Rekeyer


class EnrichHandler:
    """Adds the features of one kind of entity to the events of one partition, and passes them on.

    Parameters
    ----------
    onward
        Publishes to the log of the next stage.
    """

    def __init__(
        self,
        partition: int,
        *,
        topic: str,
        decoder: Decoder[Event | LabelFact],
        stage: Stage,
        onward: Rekeyer,
        store: LaneStore,
    ) -> None:
        self.stage = stage
        self._partition = partition
        self._topic = topic
        self._decoder = decoder
        self._onward = onward
        self._store = store
        self._lease: Lease | None = None
        self._watermark = float("-inf")

    @property
    def watermark(self) -> float:
        """The latest event time seen."""
        return self._watermark

    async def open(self, lease: Lease) -> int | None:
        """Take position and clock from the lease."""
        self._lease = lease
        self.stage.open(lease)
        return lease.position

    async def absorb(self, records: Sequence[Record], position: int, now: float) -> Outcome:
        """Extend a batch of events; whoever redelivers them, they come out the same."""
        assert self._lease is not None, "absorb before open"
        outcome = Outcome(counts=Counter())
        items, offsets = take_in(records, self._decoder, self._topic, self._partition, outcome)
        events = await self.stage.pass_through(items, self._lease, self._store, outcome)
        for event, offset in zip(events, offsets, strict=True):
            placed = event
            if event.origin is None:
                placed = msgspec.structs.replace(event, origin=(self._partition, offset))
            outcome.messages.append(self._onward.event(placed, self.stage.fields))
        self._watermark = max((event.event_time for event in events), default=self._watermark)
        outcome.watermark = self._watermark
        return outcome

    async def tick(self, position: int, now: float) -> Outcome | None:
        """Do nothing: nothing is due here without a record."""
        return None

    def hold(self, records: Sequence[Record]) -> bool:
        """Never: events depend on no other lane."""
        return False

    def final(self, now: float) -> Outcome | None:
        """Give nothing: every batch is committed whole."""
        return None

    def close(self) -> None:
        """Forget the lease: the lane went to another worker."""
        self._lease = None
