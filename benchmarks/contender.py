"""What contenders and loads are told on the command line, and the line of JSON that they answer."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, Self

import msgspec
from river import linear_model, preprocessing

POSITIVE = "UP"


class Job(msgspec.Struct, frozen=True):
    """The records to work through."""

    bootstrap: str
    events: str
    labels: str
    scores: str
    n: int

    @classmethod
    def from_command_line(cls) -> Self:
        """Read the job that `run_contender` passed."""
        return msgspec.json.decode(sys.argv[1], type=cls)


class Result(msgspec.Struct, frozen=True):
    """What a contender did and how long it took, from its first record on."""

    n: int
    """Events worked through (each with its label, where labels are read)."""
    learned: int
    lost: int
    """Labels that met no event."""
    seconds: float
    cpu_s: float
    queued_s: float = 0.0
    """For how long its main thread was ready to run and had no CPU: noise of the machine."""
    n_early: int = 0
    """Labels that came before their events and were kept for them."""

    @property
    def rate(self) -> float:
        """Records learned per second."""
        return self.learned / self.seconds

    @property
    def rate_handled(self) -> float:
        """Records worked through per second, learned or not."""
        return self.n / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU time of the process per record, all threads."""
        return 1e6 * self.cpu_s / self.n

    @property
    def rate_with_cpu(self) -> float:
        """Records learned per second of the time in which the process was not kept waiting."""
        return self.learned / max(self.seconds - self.queued_s, 1e-9)

    @property
    def idle(self) -> float:
        """Share of the time in which the process had nothing to do: it waited for others."""
        return max(0.0, 1.0 - (self.cpu_s + self.queued_s) / self.seconds)


class LoadJob(msgspec.Struct, frozen=True):
    """A paced load: events a second, each label 500 events after its event."""

    bootstrap: str
    app: str
    rate: float
    warm_up_s: float
    measure_s: float
    records: str = "elec2"

    @property
    def events(self) -> str:
        """Where the events go."""
        return f"{self.app}.events"

    @property
    def labels(self) -> str:
        """Where the labels go."""
        return f"{self.app}.labels"

    @property
    def scores(self) -> str:
        """Where the scores come from."""
        return f"{self.app}.scores"


class LatencyResult(msgspec.Struct, frozen=True):
    """Milliseconds from event to score; `stamped` is by the CreateTimes of both records."""

    rate: float
    n: int
    lost: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    stamped_p50_ms: float
    stamped_p99_ms: float
    late_p99_ms: float
    """How late the producer was for its own schedule: noise of this machine."""


def pipeline() -> Any:  # River's types know no pipeline of a transformer and a classifier
    """The model of every contender."""
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


class Stopwatch:
    """Wall and CPU time since the first record."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._cpu = self._queued = 0.0

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self._began is None:
            self._began = time.perf_counter()
            self._cpu = _cpu_s()
            self._queued = queued_s()

    def answer(self, job: Job, *, learned: int, lost: int = 0, n_early: int = 0) -> NoReturn:
        """Write the result and end the process at once: shutting down is not measured."""
        assert self._began is not None, "no record came"
        seconds, cpu_s = time.perf_counter() - self._began, _cpu_s() - self._cpu
        queued = queued_s() - self._queued
        result = Result(job.n, learned, lost, seconds, cpu_s, queued, n_early)
        print(json.dumps(msgspec.to_builtins(result)), flush=True)
        os._exit(0)


def queued_s(pid: int | str = "self") -> float:
    """For how long the main thread of a process has waited for a CPU; 0 where that is not told."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
