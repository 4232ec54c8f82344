"""Settings of the features that are made of an entity's past and of the calendar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from models.features import CalendarFeatures, EntitySpec, RiskSpec, Stat, WindowSpec
from models.features.specs import OF_VALUES
from stream.durations import Duration
from stream.section import Section

if TYPE_CHECKING:
    from stream.settings import EventSettings

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,100}")
Windows = Annotated[tuple[Annotated[Duration, Field(gt=0)], ...], Field(min_length=1)]


class WindowSettings(Section):
    """Statistics of an entity's events over windows `(t - w, t]` of event time."""

    entity: str = Field(description="Field that names the entity.")
    windows: Windows = Field(description="Lengths of the windows.")
    stats: tuple[
        Literal[
            "count", "sum", "mean", "std", "min", "max", "ratio", "distinct",
            "since_last", "first_seen",
        ],
        ...,
    ] = Field(
        min_length=1,
        description="ratio: the value by the window's mean; distinct: different values of the "
        "field `distinct`; since_last: seconds since the entity's last event; first_seen: whether "
        "there was none. The last two look at all that is kept, once.",
    )  # fmt: skip
    value: str | None = Field(None, description="Number field that sum, mean and so on are of.")
    distinct: str | None = Field(None, description="Field whose different values are counted.")
    include_current: bool = Field(True, description="Whether the event itself is counted.")

    @model_validator(mode="after")
    def _fields(self) -> WindowSettings:
        if self.value is None and (of := OF_VALUES & set(self.stats)):
            raise ValueError(f"{min(of)} needs the field that it is of: value")
        if (self.distinct is None) != ("distinct" not in self.stats):
            raise ValueError("set both distinct and the stat of that name, or neither")
        return self

    def spec(self) -> WindowSpec:
        """Give what the core computes."""
        return WindowSpec(
            tuple(sorted(self.windows)),
            tuple(Stat(stat) for stat in self.stats if stat not in ("since_last", "first_seen")),
            self.value,
            self.distinct,
            self.include_current,
            "since_last" in self.stats,
            "first_seen" in self.stats,
        )


class RiskSettings(Section):
    """Events of an entity over `(t - delay - w, t - delay]`, and the share labelled positive."""

    entity: str = Field(description="Field that names the entity.")
    windows: Windows = Field(description="Lengths of the windows.")
    delay: Duration = Field(
        description="How long labels take: later events are left out, since few are labelled."
    )

    def spec(self) -> RiskSpec:
        """Give what the core computes."""
        return RiskSpec(tuple(sorted(self.windows)), self.delay)


class CalendarSettings(Section):
    """When an event happened, in the cycles that people live in."""

    stats: tuple[
        Literal[
            "hour", "night", "weekday", "weekend", "hour_sin", "hour_cos",
            "weekday_sin", "weekday_cos",
        ],
        ...,
    ] = Field(
        (), description="Features `time.<name>` to add; the pairs of sin and cos are cycles."
    )  # fmt: skip
    utc_offset_h: float = Field(0.0, ge=-14, le=14, description="Hours of the clock before UTC.")
    night_from_h: float = Field(0.0, ge=0, lt=24, description="Hour at which the night begins.")
    night_to_h: float = Field(7.0, ge=0, le=24, description="Hour at which it ends.")

    def build(self) -> CalendarFeatures:
        """Give what the core computes."""
        night = self.night_from_h, self.night_to_h
        return CalendarFeatures(self.stats, self.utc_offset_h * 3600.0, night)


class DerivedSettings(Section):
    """Features made of an entity's past and of the calendar, beside the event's own fields."""

    window: tuple[WindowSettings, ...] = Field((), description="Entity windows.")
    risk: tuple[RiskSettings, ...] = Field((), description="Delayed risk.")
    calendar: CalendarSettings = CalendarSettings()
    lateness: Duration = Field(
        86_400.0,
        description="An event this far behind the latest one of its lane still finds its windows "
        "whole; later ones may not, and are counted in a metric.",
    )
    entity_events_max: int = Field(
        4096, ge=1, le=65_000, description="Newest events of an entity that are kept."
    )
    memory_max_mb: int = Field(
        512,
        ge=1,
        description="Memory of a lane for entities; beyond, those unused for longest are left to "
        "Redis and loaded again when they are seen.",
    )

    def specs(self) -> list[EntitySpec]:
        """Give what is computed of each entity, in the order in which they are first named."""
        entities = dict.fromkeys(part.entity for part in self._parts())
        return [
            EntitySpec(
                entity,
                tuple(window.spec() for window in self.window if window.entity == entity),
                tuple(risk.spec() for risk in self.risk if risk.entity == entity),
                self.lateness,
                self.entity_events_max,
            )
            for entity in entities
        ]

    def further(self, event: EventSettings) -> list[str]:
        """Name the entities whose past is not in the events topic: by another key, or of labels."""
        specs = self.specs()
        return [spec.entity for spec in specs if spec.entity != event.entity or spec.risks]

    def _parts(self) -> list[WindowSettings | RiskSettings]:
        return [*self.window, *self.risk]

    def check(self, event: EventSettings) -> None:
        """Refuse what the events can't give."""
        fields = event.features
        for part in self._parts():
            if part.entity != event.entity and part.entity not in fields:
                raise ValueError(
                    f"features: the entity {part.entity!r} is neither event.entity nor a field of "
                    "[event.features]"
                )
        for window in self.window:
            for name in filter(None, (window.value, window.distinct)):
                if name not in fields or not fields[name].required:
                    raise ValueError(
                        f"features.window: {name!r} must be a required field of [event.features]"
                    )
            if window.value is not None and fields[window.value].type == "category":
                raise ValueError(f"features.window: the value {window.value!r} is not a number")
        for entity in self.further(event):
            if not _TOPIC.fullmatch(entity):
                raise ValueError(
                    f"features: the entity {entity!r} names a topic, by-{entity}: use letters, "
                    "digits, '.', '_' and '-'"
                )
        names = [*fields, *self.names()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"features: {', '.join(twice)}: two features have that name")

    def names(self) -> Sequence[str]:
        """Name all features that are added."""
        derived = [name for spec in self.specs() for name in spec.names]
        return [*self.calendar.build().names, *derived]
