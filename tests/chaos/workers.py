"""The workers of a run, and who starts them again: what a process supervisor does in production."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from stream.app import EXIT_FAILED, EXIT_FENCED

STOP_DEADLINE_S = 60.0
MAY_END_WITH = {EXIT_FAILED, EXIT_FENCED}
"""Failed or fenced: the restart is the recovery path. A lost state must never be seen here."""


class WorkerProcess:
    """One worker; what it logs goes to a file of its own."""

    def __init__(self, folder: Path, index: int, environment: Mapping[str, str]) -> None:
        self.log = folder / f"worker-{index}.log"
        self.stopping = self.paused = False
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream", "worker"],
                env=os.environ | environment,
                stdout=log,
                stderr=log,
            )

    @property
    def last_words(self) -> str:
        """Why it ended: the last serious line of its log, else the last line."""
        lines = self.log.read_text(errors="replace").splitlines()
        serious = [line for line in lines if "CRITICAL" in line or "Error" in line]
        return (serious or lines or ["nothing"])[-1][:300]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, by pid."""
        self.process.send_signal(number)


class Supervisor:
    """Keeps as many workers running as wanted.

    Parameters
    ----------
    settings_environment
        The configuration, for the workers' environment.
    """

    def __init__(self, folder: Path, settings_environment: Mapping[str, str], n: int) -> None:
        self._folder = folder
        self._environment = settings_environment
        self._n_started = 0
        self.ended: Counter[int] = Counter()
        self.violations: list[str] = []
        self.failures: list[str] = []
        self.workers = [self._start() for _ in range(n)]
        self._leaving: list[WorkerProcess] = []

    def _start(self) -> WorkerProcess:
        self._n_started += 1
        return WorkerProcess(self._folder, self._n_started, self._environment)

    def look_after(self) -> None:
        """Start again what has ended; note how it did."""
        for place, worker in enumerate(self.workers):
            status = worker.process.poll()
            if status is not None:
                self._note(worker, status)
                self.workers[place] = self._start()
        for worker in self._leaving:
            if (status := worker.process.poll()) is not None:
                self._note(worker, status)
        self._leaving = [w for w in self._leaving if w.process.poll() is None]

    def _note(self, worker: WorkerProcess, status: int) -> None:
        self.ended[status] += 1
        if status in MAY_END_WITH:
            self.failures.append(f"status {status}: {worker.last_words}")
        # One that is told to stop before it has begun just ends.
        when_told = {0, -signal.SIGTERM} if worker.stopping else set()
        allowed = MAY_END_WITH | {-signal.SIGKILL} | when_told
        if status not in allowed:
            self.violations.append(
                f"a worker ended with status {status} ({worker.log}): {worker.last_words}"
            )

    def pick(self, rng: random.Random) -> WorkerProcess | None:
        """Choose a worker that runs and is not paused."""
        running = [w for w in self.workers if w.process.poll() is None and not w.paused]
        return rng.choice(running) if running else None

    def pause(self, worker: WorkerProcess) -> None:
        """Stop it where it is."""
        worker.paused = True
        worker.signal(signal.SIGSTOP)

    def resume(self, worker: WorkerProcess) -> None:
        """Let it go on, as if nothing had been."""
        worker.paused = False
        if worker.process.poll() is None:
            worker.signal(signal.SIGCONT)

    def add(self) -> None:
        """Start one more."""
        self.workers.append(self._start())

    def remove(self, worker: WorkerProcess) -> None:
        """Stop one as an operator does."""
        worker.stopping = True
        worker.signal(signal.SIGTERM)
        self.workers.remove(worker)
        self._leaving.append(worker)

    def stop(self) -> None:
        """Stop all; each must end well, having cut a version of what it learned."""
        for worker in list(self.workers):
            self.remove(worker)
        deadline = time.monotonic() + STOP_DEADLINE_S
        for worker in list(self._leaving):
            try:
                status = worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.violations.append(f"a worker does not stop: {worker.log}")
                worker.process.kill()
                status = worker.process.wait()
            if status != 0:
                self.violations.append(f"stopped with status {status}: {worker.log}")
        self._leaving = []

    def close(self) -> None:
        """Kill what still runs."""
        for worker in (*self.workers, *self._leaving):
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
