"""Features of the calendar: when an event happened, in the cycles that people live in."""

from __future__ import annotations

import math

from models.features.windows import Row

DAY_S = 86_400.0
NAMES = (
    "hour",
    "night",
    "weekday",
    "weekend",
    "hour_sin",
    "hour_cos",
    "weekday_sin",
    "weekday_cos",
)
_THURSDAY = 3  # 1 January 1970.
_SATURDAY = 5


class CalendarFeatures:
    """Chosen ones of `hour`, `night`, `weekday`, `weekend` and the cyclic pairs.

    Parameters
    ----------
    chosen
        Which, in this order.
    utc_offset_s
        Seconds that the clock on the wall is ahead of UTC.
    night
        Hours at which the night begins and ends.

    Examples
    --------
    >>> calendar = CalendarFeatures(("hour", "night", "weekend", "hour_sin"))
    >>> calendar.names
    ('time.hour', 'time.night', 'time.weekend', 'time.hour_sin')
    >>> calendar.row(1_522_564_200.0)  # Sunday, 1 April 2018, 06:30 UTC
    [6.5, True, True, 0.9914448613738105]
    """

    def __init__(
        self,
        chosen: tuple[str, ...],
        utc_offset_s: float = 0.0,
        night: tuple[float, float] = (0.0, 7.0),
    ) -> None:
        self.names = tuple(f"time.{name}" for name in chosen)
        self._chosen = chosen
        self._utc_offset_s = utc_offset_s
        self._night = night

    def row(self, time: float) -> Row:
        """Give the features of an event's time."""
        days, second = divmod(time + self._utc_offset_s, DAY_S)
        hour = second / 3600.0
        weekday = (int(days) + _THURSDAY) % 7
        row: Row = []
        for name in self._chosen:
            if name == "hour":
                row.append(hour)
            elif name == "night":
                begins, ends = self._night
                wraps = begins > ends
                row.append(hour >= begins or hour < ends if wraps else begins <= hour < ends)
            elif name == "weekday":
                row.append(float(weekday))
            elif name == "weekend":
                row.append(weekday >= _SATURDAY)
            else:
                cycle = hour / 24.0 if name.startswith("hour") else (weekday + hour / 24.0) / 7.0
                turn = math.sin if name.endswith("sin") else math.cos
                row.append(turn(2.0 * math.pi * cycle))
        return row
