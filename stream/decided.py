"""Decisions that were published and their events, as the pending records that they came from."""

from __future__ import annotations

from collections import Counter

from models.stores.base import NewPending
from stream.decoding import EventDecoder
from stream.messages import (
    CHAMPION,
    Decision,
    InvalidMessage,
    Pending,
    decision_of,
    encode_json,
    encode_pending,
)
from stream.outcomes import Input, RecoveryImpossible
from stream.ports import LogReader, LogRecord
from stream.runs import windows
from stream.settings import Settings

WINDOW_GAP_MAX = 20_000
"""Records that are cheaper to read over than to seek past: about one fetch."""

NO_EVENT = "decisions whose events are no longer kept: their labels will be unknown_event"
UNREADABLE_EVENTS = (
    "events that this configuration can't decode: their labels will be unknown_event"
)


class DecidedEvents:
    """Looks up the events of decisions.

    Parameters
    ----------
    gone
        Counts what can't be had any more.
    """

    def __init__(
        self, settings: Settings, *, log: LogReader, events: Input, gone: Counter[str]
    ) -> None:
        self._settings = settings
        self._log = log
        self._events = events
        self._gone = gone
        self._decoder = EventDecoder(settings.event)
        self.fields = self._decoder.fields

    def pending(
        self, partition: int, places: dict[int, tuple[Decision, bytes]]
    ) -> dict[int, NewPending]:
        """Give these decisions, by offset, as the pending records that they were."""
        events = self._events
        first, _ = events.ends.get(partition, (0, 0))
        kept = [offset for offset in places if offset >= first]
        found: dict[int, NewPending] = {}
        n_read = 0
        for window in windows(kept, WINDOW_GAP_MAX):
            for batch in self._log.read(events.name, {partition: window}):
                for event in batch:
                    if event.offset in places:
                        n_read += 1
                        pending = self._pending_again(event, *places[event.offset])
                        if pending is not None:
                            found[event.offset] = pending
        self._gone[NO_EVENT] += len(places) - n_read
        return found

    def _pending_again(
        self, record: LogRecord, decision: Decision, published: bytes
    ) -> NewPending | None:
        try:
            event = self._decoder.decode(record.value, record.timestamp)
        except InvalidMessage:
            self._gone[UNREADABLE_EVENTS] += 1
            return None
        pending = Pending(
            fields=self.fields.id,
            values=event.values,
            score=decision.score,
            threshold=decision.threshold,
            version=decision.version,
            model_position=decision.model_position,
            entity=decision.entity,
            partition=decision.partition,
            stale=decision.stale,
            reasons=decision.reasons or None,
            arm=None if decision.arm == CHAMPION else decision.arm,
            event_time=decision.event_time,
            offset=decision.offset,
        )
        rebuilt = encode_json(decision_of(self._settings.model.task, event.event_id, pending))
        if rebuilt != published:
            raise RecoveryImpossible(
                f"the event at {self._events.name}/{record.partition}/{record.offset} "
                f"gives another decision than was published for {decision.event_id!r}: is this "
                "the configuration (event.id) that the workers had?"
            )
        return NewPending(event.event_id, decision.event_time, encode_pending(pending))
