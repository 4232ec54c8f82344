"""Waiting out an outage: whatever needs a server that is away is tried again until it works.

Why at the very call, and not by a restart: the call's lane holds what it has computed, the others
that do not need the server go on, back-pressure stops fetching after two batches a lane, and the
moment that the server answers all goes on where it was. Each call that is tried again may have
happened before its answer was lost, so all of them change nothing when done twice: see
`models.stores.base` and `models.seen`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

DELAY_MIN_S = 0.05
DELAY_MAX_S = 2.0
LOG_EVERY_S = 10.0
SLOW_S = 5.0
"""A call without an answer for this long is part of an outage, though it may yet succeed."""


class Outage:
    """Tries again while a server is away, and knows since when it is.

    Parameters
    ----------
    server
        Its name for people: `Redis`.
    away
        What calls raise while it is away; any other error goes through.
    now, sleep, random
        Time in seconds, waiting, and the jitter that keeps workers from coming back as one.
    """

    def __init__(
        self,
        server: str,
        away: type[Exception],
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        random: Random,
    ) -> None:
        self.server = server
        self._away = away
        self._now = now
        self._sleep = sleep
        self._random = random
        self._since = 0.0
        self._logged_at = float("-inf")
        self._n_waiting = 0
        self._n_calls = 0
        self._called_at: dict[int, float] = {}
        self.n_retries = 0

    @property
    def seconds(self) -> float:
        """How long something has waited for the server; 0 if all is well."""
        now = self._now()
        if self._n_waiting:
            return now - self._since
        # A copy, since the monitoring thread asks as well.
        oldest = min(tuple(self._called_at.values()), default=now)
        return now - oldest if now - oldest > SLOW_S else 0.0

    async def retry(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do it; as long as the server is away, again after 50 ms to 2 s."""
        self._n_calls += 1
        call = self._n_calls
        self._called_at[call] = self._now()
        try:
            return await attempt()
        except self._away as error:
            self._begin(self._called_at[call], error)
        finally:
            del self._called_at[call]
        try:
            return await self._again(attempt)
        finally:
            self._end()

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        delay = DELAY_MIN_S
        while True:
            await self._sleep(delay * self._random.uniform(0.5, 1.0))
            delay = min(2 * delay, DELAY_MAX_S)
            self.n_retries += 1
            try:
                return await attempt()
            except self._away as error:
                self._tell(error)

    def _begin(self, called_at: float, error: Exception) -> None:
        if not self._n_waiting:
            self._since = called_at
            self._logged_at = float("-inf")
        self._n_waiting += 1
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        if self._now() - self._logged_at >= LOG_EVERY_S:
            self._logged_at = self._now()
            log.warning(
                "%s is away for %.0f s; what needs it waits and tries again: %s",
                self.server, self.seconds, error,
            )  # fmt: skip

    def _end(self) -> None:
        self._n_waiting -= 1
        if not self._n_waiting:
            away_for = self._now() - self._since
            log.warning("%s: nothing waits for it any more, after %.1f s", self.server, away_for)
