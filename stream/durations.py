"""Durations as people write them in a configuration, and as the code counts them: in seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(value: object) -> object:
    """Turn `"7d"`, `"90s"`, `"250ms"` or `"1h30m"` into seconds; numbers are seconds already.

    Examples
    --------
    >>> parse_duration("7d"), parse_duration("1h30m"), parse_duration("250ms"), parse_duration(5)
    (604800.0, 5400.0, 0.25, 5)
    """
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"{value!r} is not a duration: write 250ms, 90s, 15m, 12h, 7d or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
