"""A log that can be read during an outage: libraries may repeat themselves every ten seconds only.

aiokafka tells of a broker that is away some twenty times a second, in six different messages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

REPEAT_AFTER_S = 10.0


class Sparing(logging.Filter):
    """Lets each message of a logger through once in ten seconds, whatever its arguments.

    Examples
    --------
    >>> seconds = iter([0.0, 1.0, 2.0, 11.0])
    >>> sparing = Sparing(lambda: next(seconds))
    >>> records = [logging.makeLogRecord({"msg": "no %s", "args": (i,)}) for i in range(4)]
    >>> [sparing.filter(record) for record in records]
    [True, False, False, True]
    >>> records[-1].getMessage()
    'no 3 (2 more like it)'
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._told: dict[tuple[str, int, object], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether to let it through; if so, tell how many were not."""
        message = record.name, record.lineno, record.msg
        now = self._now()
        told_at, n_dropped = self._told.get(message, (float("-inf"), 0))
        if now - told_at < REPEAT_AFTER_S:
            self._told[message] = told_at, n_dropped + 1
            return False
        self._told[message] = now, 0
        if n_dropped:
            record.msg = f"{record.msg} ({n_dropped} more like it)"
        return True


def spare(package: str, now: Callable[[], float]) -> None:
    """Put the filter on all loggers that the package has made so far."""
    sparing = Sparing(now)
    for name in list(logging.root.manager.loggerDict):
        if name == package or name.startswith(f"{package}."):
            logging.getLogger(name).addFilter(sparing)
