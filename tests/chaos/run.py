"""One run: servers, workers, a feed, and faults one after another; then all must settle."""

from __future__ import annotations

import heapq
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from stream.settings import Settings, load_settings
from tests.chaos.evidence import unsettled
from tests.chaos.feed import Feeder
from tests.chaos.schedule import Fault, Kind, deal
from tests.chaos.servers import Kafka, Redis
from tests.chaos.workers import Supervisor

CONFIG = Path(__file__).with_name("chaos.toml")
POLL_S = 0.2
PROGRESS_EVERY_S = 2.0
SETTLE_DEADLINE_S = 300.0
SETTLED_S = 8.0
SETTLE_POLL_S = 1.0
N_EXTRA_WORKERS_MAX = 2


class Run:
    """Does what the schedule says.

    Parameters
    ----------
    rng
        Where the choice of victims comes from; when a fault comes is real time, so that a seed is
        a schedule of faults and not a schedule of the system.
    """

    def __init__(
        self, settings: Settings, kafka: Kafka, redis: Redis, workers: Supervisor, feeder: Feeder,
        rng: random.Random,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._kafka = kafka
        self._redis = redis
        self._workers = workers
        self._feeder = feeder
        self._rng = rng
        self._n_workers = len(workers.workers)
        self._began = time.monotonic()
        self._told_at = 0.0
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._n_later = 0
        self._redis_busy = False
        self.done: Counter[Kind] = Counter()
        self.violations: list[str] = []

    def go(self, seconds: float) -> None:
        """Feed and break things for a while, then mend everything and wait until all is done."""
        self._feeder.start()
        for fault in deal(self._rng, seconds, self._settings.kafka.session_timeout):
            self._wait_until(fault.at_s)
            self._do(fault)
        self._wait_until(seconds)
        while self._later or self._kafka.restarting:
            self._wait_until(self._elapsed + POLL_S)
        self._feeder.stop()
        if self._feeder.failed is not None:
            raise self._feeder.failed
        # An event of a later time is the last to be scored only if all others have been.
        self._settle(lambda lane: lane.startswith(("enrich", "score")), for_s=3 * SETTLE_POLL_S)
        self._feeder.finish(self._settings.kafka.partitions)
        self._settle()
        self._workers.stop()

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _wait_until(self, at_s: float) -> None:
        while True:
            self._workers.look_after()
            while self._later and self._later[0][0] <= self._elapsed:
                heapq.heappop(self._later)[2]()
            self._tell()
            if self._elapsed >= at_s:
                return
            time.sleep(POLL_S)

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        self._n_later += 1
        heapq.heappush(self._later, (self._elapsed + seconds, self._n_later, what))

    def _do(self, fault: Fault) -> None:
        victim = self._workers.pick(self._rng)
        match fault.kind:
            case Kind.KILL_WORKER if victim is not None:
                victim.signal(signal.SIGKILL)
            case Kind.PAUSE_WORKER if victim is not None:
                self._workers.pause(victim)
                self._after(fault.lasts_s, lambda: self._workers.resume(victim))
            case Kind.ADD_WORKER if self._can_add:
                self._workers.add()
            case Kind.ADD_WORKER | Kind.REMOVE_WORKER if (
                victim is not None and len(self._workers.workers) > 1
            ):
                self._workers.remove(victim)
            case Kind.KILL_BROKER | Kind.RESTART_BROKER if not self._kafka.restarting:
                self._kafka.restart(kill=fault.kind is Kind.KILL_BROKER)
            case Kind.KILL_REDIS if not self._redis_busy:
                self._redis_busy = True
                self._redis.kill()
                self._after(fault.lasts_s, self._restart_redis)
            case Kind.FREEZE_REDIS if not self._redis_busy:
                self._redis_busy = True
                self._redis.freeze()
                self._after(fault.lasts_s, self._thaw_redis)
            case _:
                return
        self.done[fault.kind] += 1

    @property
    def _can_add(self) -> bool:
        return len(self._workers.workers) < self._n_workers + N_EXTRA_WORKERS_MAX

    def _restart_redis(self) -> None:
        self._redis.start()
        self._redis_busy = False

    def _thaw_redis(self) -> None:
        self._redis.thaw()
        self._redis_busy = False

    def _settle(
        self, of: Callable[[str], bool] = lambda lane: True, for_s: float = SETTLED_S
    ) -> None:
        """Wait until lanes have taken everything, and stay so for a while."""
        began = settled_since = time.monotonic()
        while time.monotonic() - settled_since < for_s:
            self._workers.look_after()
            left = {lane: n for lane, n in unsettled(self._settings).items() if of(lane)}
            self._tell(f"settling, left: {left or 'nothing'}")
            if left:
                settled_since = time.monotonic()
            if time.monotonic() - began > SETTLE_DEADLINE_S:
                self.violations.append(f"not settled in {SETTLE_DEADLINE_S:.0f} s: {left}")
                return
            time.sleep(SETTLE_POLL_S)

    def _tell(self, doing: str = "") -> None:
        if time.monotonic() - self._told_at < PROGRESS_EVERY_S:
            return
        self._told_at = time.monotonic()
        faults = ", ".join(f"{n} {kind.value}" for kind, n in sorted(self.done.items()))
        line = f"{self._elapsed:4.0f} s  {self._feeder.n_sent:,} sent  {doing or faults}"
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"\x1b[2K{line}" if end == "\r" else line, end=end, file=sys.stderr, flush=True)


def settings_of(environment: dict[str, str]) -> Settings:
    """The configuration as the workers see it."""
    import os

    saved = dict(os.environ)
    os.environ.update(environment)
    try:
        return load_settings(CONFIG)
    finally:
        os.environ.clear()
        os.environ.update(saved)
