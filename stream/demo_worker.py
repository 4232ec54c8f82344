"""The demo's worker: `driftline worker` as a process of its own, as in production.

Why a process and not a thread: the demo then shows what a user gets, its own drawing does not
take the worker's interpreter lock, and a worker that dies is seen to die.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

READY_DEADLINE_S = 40.0
STOP_DEADLINE_S = 10.0
POLL_S = 0.1
HTTP_OK = 200
N_LOG_LINES = 30
TROUBLE = ("ERROR", "CRITICAL", "Traceback", "Signal received")


class DemoFailed(Exception):
    """The demo can't go on; the message says why, with the worker's last words."""


class WorkerProcess:
    """A worker between `__enter__` and `__exit__`; its log goes to a temporary file.

    Parameters
    ----------
    config
        What `--config` gets: a file or a preset's name.
    environment
        Settings on top of it, as environment variables.
    port
        Where it serves `/readyz` and `/metrics`.
    """

    def __init__(self, config: str, environment: Mapping[str, str], port: int) -> None:
        self.port = port
        self._command = [sys.executable, "-m", "stream", "worker", "--config", config]
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="driftline-demo-")
        self._log = Path(self._folder.name) / "worker.log"

    def __enter__(self) -> Self:
        """Start the worker."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which stops the worker in order
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the worker and remove its log."""
        self.stop()
        self._folder.cleanup()

    def await_ready(self, waiting: Callable[[float], None]) -> None:
        """Wait for `/readyz`; calls `waiting` with the seconds so far.

        Raises
        ------
        DemoFailed
            When the worker dies or does not become ready in time.
        """
        begin = time.monotonic()
        while not self._answers():
            self.check()
            seconds = time.monotonic() - begin
            if seconds > READY_DEADLINE_S:
                raise DemoFailed(self._explain(f"was not ready within {READY_DEADLINE_S:.0f} s"))
            waiting(seconds)
            time.sleep(POLL_S)

    def check(self) -> None:
        """Raise `DemoFailed` if the worker has died."""
        code = self._running().poll()
        if code is not None:
            raise DemoFailed(self._explain(f"ended by itself (exit code {code})"))

    def stop(self) -> None:
        """Let the worker finish in order (it cuts a last version); kill it if it does not."""
        process = self._running()
        if process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def explain(self, what: str) -> DemoFailed:
        """Make an error about this worker, with the end of its log."""
        return DemoFailed(self._explain(what))

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "use the worker in a with statement"
        return self._process

    def _answers(self) -> bool:
        address = f"http://127.0.0.1:{self.port}/readyz"
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(address, timeout=1.0) as answer,
        ):
            return bool(answer.status == HTTP_OK)
        return False

    def _explain(self, what: str) -> str:
        lines = last_words(self._log.read_text(errors="replace").splitlines())
        shown = "\n".join(f"    {line}" for line in lines) or "    (it said nothing)"
        return f"the worker {what}. From its log:\n{shown}"


def last_words(lines: list[str]) -> list[str]:
    """Find the lines of a log that say why it ended: from the first trouble on, else the last.

    A worker that fails still stops its services in order, which takes more lines than the reason.

    Examples
    --------
    >>> last_words(["[INFO] start", "[ERROR] no Redis", "[INFO] stop"])
    ['[ERROR] no Redis', '[INFO] stop']
    """
    for i, line in enumerate(lines):
        if any(mark in line for mark in TROUBLE):
            return lines[i : i + N_LOG_LINES]
    return lines[-N_LOG_LINES:]
