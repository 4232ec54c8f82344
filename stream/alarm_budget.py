"""A budget of false alarms as people write it: in examples, or in days of event time."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from models.drift import EVERY_MIN
from stream.durations import seconds_of

_SHAPE = re.compile(r"(\d+) per (?:(\d[\d,_]*) )?([a-z]+|\d\S*)")
_UNITS_S = {"hour": 3_600.0, "day": 86_400.0, "week": 604_800.0}


class AlarmBudget(NamedTuple):
    """One false confirmation in so many examples, or in so many seconds; the other is None."""

    examples: float | None
    seconds: float | None


def budget_of(text: str) -> AlarmBudget:
    """Read a budget.

    Raises
    ------
    ValueError
        If it is not written like these, or cannot be kept.

    Examples
    --------
    >>> budget_of("1 per 30 days"), budget_of("2 per 100,000 examples")
    (AlarmBudget(examples=None, seconds=2592000.0), AlarmBudget(examples=50000.0, seconds=None))
    >>> budget_of("1 per week").seconds, budget_of("3 per 1h30m").seconds
    (604800.0, 1800.0)
    """
    found = _SHAPE.fullmatch(" ".join(text.split()))
    n, every = (int(found[1]), found[3].removesuffix("s")) if found else (0, "")
    if found is None or not n:
        raise ValueError(
            f'{text!r} is no budget: write "1 per 30 days", "2 per week", "1 per 36h" or '
            '"1 per 100000 examples"'
        )
    amount = int(re.sub("[,_]", "", found[2] or "1"))
    if every == "example":
        if amount < EVERY_MIN * n:
            raise ValueError(
                f"{text!r} cannot be kept: no detector is as wrong as that; allow at most one in "
                f"{EVERY_MIN:,} examples"
            )
        return AlarmBudget(amount / n, None)
    seconds = _UNITS_S.get(every)
    if seconds is None:
        seconds = _duration(text, found[2], found[3])
    if not amount * seconds:
        raise ValueError(f"{text!r} allows alarms without end: the time must be above 0")
    return AlarmBudget(None, amount * seconds / n)


def _duration(text: str, amount: str | None, every: str) -> float:
    try:
        if amount is not None:
            raise ValueError
        return seconds_of(every)
    except ValueError:
        raise ValueError(
            f"{text!r} is no budget: it may be per examples, hours, days or weeks, or per a "
            "duration such as 36h"
        ) from None


def _check(text: str) -> str:
    budget_of(text)
    return text


AlarmBudgetText = Annotated[str, AfterValidator(_check)]
