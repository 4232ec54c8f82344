"""Features beside the event's own: of the calendar and of its entities' pasts, event by event.

The values of an event grow by those of each `Stage` that it passes. A stage has one ordered log,
one kind of entity, and one `EntityFold`; what it knows is in the fold, so that it is the same
whether a lane leads it, or an evaluation without servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.features import CalendarFeatures, EntityFold, EntitySpec, LabelFact, hash_of
from models.stores.base import LaneStore, Lease
from stream.decoding import Event, EventDecoder
from stream.messages import FeatureFields
from stream.ports import Outcome
from stream.settings import Settings

TIME = "entities-time"
"""Key of the fold's clock, and of the length of its generations, in the lane's state."""
LOG = "log"
"""Key of the re-keyed log that the lane's position is of; absent for the events topic."""
BYTES_PER_MB = 1_000_000
FORGET_EVERY_N = 10_000


class Stage:
    """Extends events by the features of one kind of entity.

    Parameters
    ----------
    before
        Names of the values that events have when they come here.
    event_entity
        The field that `Event.entity` is, wherever it is among the values.
    """

    def __init__(
        self,
        before: FeatureFields,
        event_entity: str | None,
        spec: EntitySpec | None,
        *,
        calendar: CalendarFeatures | None = None,
        memory_max: float = float("inf"),
    ) -> None:
        names = list(before.names)
        self.log = b""
        self._calendar = calendar if calendar is not None and calendar.names else None
        names += self._calendar.names if self._calendar is not None else ()
        self._spec = spec
        self._memory_max = memory_max
        self._before = before.names
        self._entity_place: int | None = None
        if spec is not None:
            if spec.entity != event_entity:
                self._entity_place = before.names.index(spec.entity)
            names += spec.names
        self.fields = FeatureFields(names) if len(names) > len(before.names) else before
        self.fold = self._fresh(complete=True)

    @property
    def adds(self) -> bool:
        """Whether events leave it with more than they had."""
        return len(self.fields.names) > len(self._before)

    @property
    def named_by(self) -> str | None:
        """The feature that names the entities; None if it is `Event.entity`."""
        return None if self._entity_place is None else self._before[self._entity_place]

    @property
    def has_risk(self) -> bool:
        """Whether it needs to hear of labels."""
        return self._spec is not None and bool(self._spec.risks)

    def _fresh(self, *, complete: bool, length: float | None = None) -> EntityFold | None:
        if self._spec is None:
            return None
        return EntityFold(
            self._spec,
            self._before,
            memory_max=self._memory_max,
            complete=complete,
            length=length,
        )

    def entity_of(self, event: Event) -> str | None:
        """Name the entity of an event."""
        if self._entity_place is None:
            return event.entity
        value = event.values[self._entity_place]
        return None if value is None else str(value)

    def extend(self, events: Sequence[Event]) -> list[Event]:
        """Give events with their features, and count them, in order; all or, refused, none."""
        times = [event.event_time for event in events]
        rows = [event.values for event in events]
        n_before = len(self._before)
        if self.fold is not None:
            entities = [self.entity_of(event) for event in events]
            hashes = [hash_of(event.event_id) for event in events]
            found = self.fold.observe_many(entities, times, hashes, rows)
            rows = [(*values, *row) for values, row in zip(rows, found, strict=True)]
        if self._calendar is not None:
            calendar = map(self._calendar.row, times)
            rows = [
                (*values[:n_before], *row, *values[n_before:])
                for values, row in zip(rows, calendar, strict=True)
            ]
        features = self.fields.features
        return [
            Event(e.event_id, e.event_time, e.entity, values, features(values), e.origin)
            for e, values in zip(events, rows, strict=True)
        ]

    def learn(self, event: Event, revision: int, positive: bool) -> None:
        """Note what a label said of an event, if risks are asked for."""
        entity = self.entity_of(event)
        if self.fold is not None and self.has_risk and entity is not None:
            about = entity, hash_of(event.event_id), event.event_time
            self.fold.learn(LabelFact(*about, revision, positive))

    def open(self, lease: Lease) -> None:
        """Begin where the lane's last commit left off."""
        # The length of generations stays what it was when the first was stored: another
        # configuration, with other windows, has to find them.
        time, length = (lease.state.get(TIME) or b"-inf 0").split()
        complete = lease.position is None
        self.fold = self._fresh(complete=complete, length=float(length) or None)
        if self.fold is not None:
            self.fold.time = float(time)

    async def pass_through(
        self,
        items: Sequence[Event | LabelFact],
        lease: Lease,
        store: LaneStore,
        outcome: Outcome,
    ) -> list[Event]:
        """Give a batch's events with their features; what changed goes into the outcome.

        1. Let go of what is over or beyond the memory: all that is here has been committed.
        2. Load the histories that the events need and that are not here.
        3. Extend the events, and learn the facts, in order.
        4. Hand the changed histories over to the lane's commit, with the clock.
        """
        fold = self.fold
        if self.log:
            outcome.changes[LOG] = self.log
        if fold is None:
            return self.extend([item for item in items if not isinstance(item, LabelFact)])
        fold.trim()
        missing = fold.missing(
            item.entity if isinstance(item, LabelFact) else self.entity_of(item) for item in items
        )
        if missing:
            for entity, data in (await store.read_keyed(lease, missing)).items():
                fold.load(entity, data)
        n_late, n_dropped = fold.n_late, fold.n_dropped
        extended: list[Event] = []
        # What a fact says is for the events behind it: those before are counted first.
        run: list[Event] = []
        for item in items:
            if isinstance(item, LabelFact):
                extended += self.extend(run)
                run = []
                fold.learn(item)
            else:
                run.append(item)
        extended += self.extend(run)
        if items:
            outcome.changes[TIME] = f"{fold.time!r} {fold.length!r}".encode()
            outcome.keyed = fold.take_changes()
        outcome.counts["entities_asked"] = len(missing)
        outcome.counts["late_events"] = fold.n_late - n_late
        outcome.counts["entity_events_dropped"] = fold.n_dropped - n_dropped
        return extended


class Derivation:
    """All stages in one process, for who has all events and labels in one order."""

    def __init__(self, settings: Settings) -> None:
        fields = EventDecoder(settings.event).fields
        self._stages = [
            s for s in stages(settings, fields, bounded=False) if s.fields is not fields
        ]
        self._n = 0

    def extend(self, event: Event) -> Event:
        """Give the event with all features, and count it."""
        for stage in self._stages:
            (event,) = stage.extend([event])
        self._n += 1
        if self._n % FORGET_EVERY_N == 0:
            for fold in self._folds():
                fold.take_changes()
                fold.trim()
        return event

    def learn(self, event: Event, positive: bool) -> None:
        """Note what a label said of an event that came by."""
        for stage in self._stages:
            stage.learn(event, 1, positive)

    def _folds(self) -> Iterator[EntityFold]:
        return (stage.fold for stage in self._stages if stage.fold is not None)


def stages(settings: Settings, fields: FeatureFields, *, bounded: bool = True) -> list[Stage]:
    """Make the stages that an event passes, the first one that of the entity that partitions it.

    A stage that adds nothing has the same fields as the one before.
    """
    derived, entity = settings.features, settings.event.entity
    memory_max = derived.memory_max_mb * BYTES_PER_MB if bounded else float("inf")
    specs, further = derived.specs(), derived.further(settings.event)
    first = next((spec for spec in specs if spec.entity not in further), None)
    made = [Stage(fields, entity, first, calendar=derived.calendar.build(), memory_max=memory_max)]
    for spec in specs:
        if spec is not first:
            made.append(Stage(made[-1].fields, entity, spec, memory_max=memory_max))
    return made
