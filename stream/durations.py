"""Durations as people write them in a configuration, and as the code counts them: in seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds_of(text: str) -> float:
    """Turn `7d`, `90s`, `250ms` or `1h30m` into seconds.

    Raises
    ------
    ValueError
        If it is not written like these.

    Examples
    --------
    >>> seconds_of("7d"), seconds_of("1h30m"), seconds_of("250ms")
    (604800.0, 5400.0, 0.25)
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write 250ms, 90s, 15m, 12h, 7d or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def parse_duration(value: object) -> object:
    """Turn a text into seconds, for pydantic; numbers are seconds already.

    Examples
    --------
    >>> parse_duration("90s"), parse_duration(5)
    (90.0, 5)
    """
    return seconds_of(value) if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
