"""Run each contender in a process of its own, and read what it says."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from benchmarks.contender import Job, LatencyResult, LoadJob, Result, queued_s
from stream.embedded import free_port

ROOT = Path(__file__).resolve().parents[1]
CONTENDER_TIMEOUT_S = 600.0
STALL_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.1
LOG_LINES = 25
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ContenderError(Exception):
    """A contender ended without a result; the message carries its last words."""


def run_contender(module: str, job: Job) -> Result:
    """Run a peer and give its result."""
    done = subprocess.run(
        _contender(module, job),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=CONTENDER_TIMEOUT_S,
        check=False,
    )
    # Faust moves the cursor before the first line.
    lines = [line[line.index("{") :] for line in done.stdout.splitlines() if "{" in line]
    if done.returncode != 0 or not lines:
        raise ContenderError(f"{module} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return msgspec.json.decode(lines[-1], type=Result)


@contextlib.contextmanager
def working(module: str, job: Job) -> Iterator[None]:
    """Let a peer work for as long as the block lasts."""
    peer = subprocess.Popen(_contender(module, job), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        peer.kill()
        peer.wait()


def _contender(module: str, job: Job) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.{module}", msgspec.json.encode(job).decode()]


def run_load(job: LoadJob) -> LatencyResult:
    """Run a paced load, and give how long its events took."""
    done = subprocess.run(_load(job), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ContenderError(f"the load ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return msgspec.json.decode(done.stdout, type=LatencyResult)


def _load(job: LoadJob) -> list[str]:
    return [sys.executable, "-m", "benchmarks.latency", msgspec.json.encode(job).decode()]


class WorkerProcess:
    """A Driftline worker, and what it says of itself.

    Parameters
    ----------
    module
        What to run: `stream`, `benchmarks.sampled_worker` for its profile, or
        `benchmarks.river_worker` for one without compiled estimators.
    pipeline
        The model.
    config
        A preset, or a file.
    overrides
        Settings as environment variables without the `DRIFTLINE_` prefix.
    """

    def __init__(
        self,
        bootstrap: str,
        redis_url: str,
        app: str,
        *,
        module: str = "stream",
        pipeline: str = "logistic",
        partitions: int = 1,
        config: str = "elec2",
        **overrides: str,
    ) -> None:
        self._port = free_port()
        self._module = module
        self._config = config
        self.environment = os.environ | {
            "DRIFTLINE_APP": app,
            "DRIFTLINE_KAFKA__BOOTSTRAP": bootstrap,
            "DRIFTLINE_MODEL__PIPELINE": pipeline,
            "DRIFTLINE_KAFKA__PARTITIONS": str(partitions),
            # The embedded broker lets a member join after half its session timeout.
            "DRIFTLINE_KAFKA__SESSION_TIMEOUT": "6s",
            "DRIFTLINE_REDIS__URL": redis_url,
            "DRIFTLINE_WORKER__HTTP_PORT": str(self._port),
            **{f"DRIFTLINE_{name}": value for name, value in overrides.items()},
        }
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            # The default level, info: at a quieter one Faust's spinner turns debug records on.
            [sys.executable, "-m", self._module, "worker", "-c", self._config],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, log = self._process, self._log
        assert process is not None, "the worker was not started"
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if log is not None:
            log.close()

    def tell(self, line: str) -> None:
        """Write a line to the worker's input (only the sampled worker listens)."""
        assert self._process is not None, "the worker was not started"
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(line + "\n")
        stdin.flush()

    def metrics(self) -> dict[str, float]:
        """Scrape the counters and gauges; empty while the worker does not answer yet."""
        self._require_alive()
        try:
            address = f"http://127.0.0.1:{self._port}/metrics"
            with urllib.request.urlopen(address, timeout=10) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return {}
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name.removeprefix("driftline_"): float(value) for name, value in pairs}

    def cpu_s(self) -> float:
        """CPU time of the process so far, all threads."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def queued_s(self) -> float:
        """For how long its main thread has waited for a CPU so far."""
        assert self._process is not None
        return queued_s(self._process.pid)

    def await_ready(self) -> None:
        """Wait until the lanes are assigned and recovered."""
        deadline = time.monotonic() + STALL_TIMEOUT_S
        while time.monotonic() < deadline:
            self._require_alive()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=10):
                    return
            except OSError:
                time.sleep(POLL_S)
        raise ContenderError(f"the worker is not ready:\n{self._last_words()}")

    def _require_alive(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            code = self._process.returncode
            raise ContenderError(f"the worker ended with {code}:\n{self._last_words()}")

    def _last_words(self) -> str:
        assert self._log is not None
        self._log.seek(0)
        return "".join(self._log.readlines()[-LOG_LINES:])


def time_backlog(worker: WorkerProcess, n: int) -> Result:
    """Wait while the worker works its backlog off; time it from its first score on."""
    began = cpu_began = queued_began = learned_before = 0.0
    n_seen, seen_at = 0.0, time.monotonic()
    while True:
        metrics, now, cpu_s = worker.metrics(), time.monotonic(), worker.cpu_s()
        learned = metrics.get("learned_total", 0.0)
        if not began and metrics.get("scores_total", 0.0) > 0:
            began, cpu_began, learned_before = now, cpu_s, learned
            queued_began = worker.queued_s()
        if learned >= n:
            break
        if learned > n_seen:
            n_seen, seen_at = learned, now
        elif now - seen_at > STALL_TIMEOUT_S:
            raise ContenderError(
                f"the worker learned {learned:.0f} of {n} and no more: {metrics}\n"
                f"{worker._last_words()}"
            )
        time.sleep(POLL_S)
    # What was done before we first looked is left out of the count as it is of the time.
    counted = int(n - learned_before)
    lost = int(metrics["labels_total"] - metrics["learned_total"])
    share = n / counted
    return Result(
        n,
        int(learned),
        lost,
        (now - began) * share,
        (cpu_s - cpu_began) * share,
        (worker.queued_s() - queued_began) * share,
        int(metrics.get("labels_early_total", 0)),
    )


def sustained_rate(worker: WorkerProcess, overload: LoadJob) -> float:
    """Give how many events a second a worker learns while more of them come, paced.

    That is less than from a backlog: batches are what has come, and the load and the broker take
    their share of the cores.
    """
    worker.await_ready()
    load = subprocess.Popen(_load(overload), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        # Neither waits for anything: the load's own time to warm up, and the time that is measured.
        time.sleep(overload.warm_up_s)
        before, began = worker.metrics()["learned_total"], time.monotonic()
        time.sleep(overload.measure_s)
        rate = (worker.metrics()["learned_total"] - before) / (time.monotonic() - began)
        if load.poll() is not None:
            raise ContenderError(f"the load ended early, with {load.returncode}")
        return rate
    finally:
        load.kill()
        load.wait()
