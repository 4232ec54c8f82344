"""What is remembered of an entity, and which features come of it."""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import NamedTuple

_UNITS_S = ((86_400, "d"), (3_600, "h"), (60, "m"))


class Stat(StrEnum):
    """A statistic of the entity's events in a window."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    STD = "std"
    MIN = "min"
    MAX = "max"
    RATIO = "ratio"
    """This event's value by the window's mean."""
    DISTINCT = "distinct"
    """Different values of another field."""


OF_VALUES = frozenset({Stat.SUM, Stat.MEAN, Stat.STD, Stat.MIN, Stat.MAX, Stat.RATIO})


class WindowSpec(NamedTuple):
    """Statistics over the windows `(t - w, t]` of an entity's events.

    `value` and `distinct` name fields. Without `current` the event itself is left out. Two
    features look at all that is kept: seconds since the entity's last event, and whether there was
    none.
    """

    windows: tuple[float, ...]
    stats: tuple[Stat, ...]
    value: str | None = None
    distinct: str | None = None
    current: bool = True
    since_last: bool = False
    first_seen: bool = False


class RiskSpec(NamedTuple):
    """Events of an entity over `(t - delay - w, t - delay]`, and the share known as positive."""

    windows: tuple[float, ...]
    delay: float


class EntitySpec(NamedTuple):
    """All that is computed of one entity.

    Parameters
    ----------
    entity
        Field that names the entity.
    lateness
        Seconds by which an event may be behind the latest one and still find its windows whole.
    events_max
        Newest events of an entity that are kept.
    """

    entity: str
    windows: tuple[WindowSpec, ...] = ()
    risks: tuple[RiskSpec, ...] = ()
    lateness: float = 0.0
    events_max: int = 4096

    @property
    def horizon(self) -> float:
        """Seconds that an event matters for."""
        reach = [window for spec in self.windows for window in spec.windows]
        reach += [risk.delay + window for risk in self.risks for window in risk.windows]
        return max(reach) + self.lateness

    @property
    def values(self) -> tuple[str, ...]:
        """Number fields that are remembered, each once."""
        return tuple(dict.fromkeys(s.value for s in self.windows if s.value is not None))

    @property
    def distincts(self) -> tuple[str, ...]:
        """Fields whose values are told apart, each once."""
        return tuple(dict.fromkeys(s.distinct for s in self.windows if s.distinct is not None))

    @property
    def layout(self) -> int:
        """A number for what a history holds: another configuration's can't be read."""
        return zlib.crc32("\0".join([*self.values, "", *self.distincts]).encode()) & 0xFFFF

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order in which they are computed.

        Examples
        --------
        >>> week = WindowSpec((86_400.0, 604_800.0), (Stat.COUNT, Stat.MEAN), value="amount")
        >>> EntitySpec("card", (week,), (RiskSpec((86_400.0,), delay=604_800.0),)).names
        ('card.count.1d', 'card.amount.mean.1d', 'card.count.7d', 'card.amount.mean.7d', \
'card.risk_count.1d', 'card.risk.1d')
        """
        names: list[str] = []
        for spec in self.windows:
            subjects = {Stat.COUNT: "", Stat.DISTINCT: f"{spec.distinct}."}
            after = "" if spec.current else ".before"
            for window in spec.windows:
                for stat in spec.stats:
                    subject = subjects.get(stat, f"{spec.value}.")
                    names.append(f"{self.entity}.{subject}{stat}.{name_of(window)}{after}")
            names += [f"{self.entity}.since_last"] * spec.since_last
            names += [f"{self.entity}.first_seen"] * spec.first_seen
        for risk in self.risks:
            for window in risk.windows:
                names.append(f"{self.entity}.risk_count.{name_of(window)}")
                names.append(f"{self.entity}.risk.{name_of(window)}")
        return tuple(names)


def name_of(seconds: float) -> str:
    """Write a window's length as people do.

    Examples
    --------
    >>> name_of(604_800.0), name_of(5_400.0), name_of(0.5)
    ('7d', '90m', '0.5s')
    """
    for unit_s, unit in _UNITS_S:
        if seconds % unit_s == 0:
            return f"{seconds / unit_s:g}{unit}"
    return f"{seconds:g}s"
