"""A whole application on the session's servers: worker processes, fed and audited by the CLI."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from stream.settings import Settings, load_settings
from stream.topology import inputs
from tests.waiting import eventually

READY_S = 60.0
SETTLED_S = 6.0


class Cluster:
    """An application with a name of its own, and its workers.

    Parameters
    ----------
    preset
        Preset or file of the configuration.
    overrides
        Environment variables without the `DRIFTLINE_` prefix.
    """

    def __init__(
        self, folder: Path, kafka: str, redis_url: str, preset: str, **overrides: str
    ) -> None:
        self.folder = folder
        self.preset = preset
        self.app = f"e2e-{uuid.uuid4().hex[:8]}"
        self.environment = {
            "DRIFTLINE_APP": self.app,
            "DRIFTLINE_KAFKA__BOOTSTRAP": kafka,
            "DRIFTLINE_KAFKA__SESSION_TIMEOUT": "6s",
            "DRIFTLINE_REDIS__URL": redis_url,
            "DRIFTLINE_WORKER__HTTP_PORT": "0",
            **{f"DRIFTLINE_{name}": value for name, value in overrides.items()},
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._n_workers = 0

    @property
    def settings(self) -> Settings:
        """The configuration as the workers see it."""
        saved = dict(os.environ)
        os.environ.update(self.environment)
        try:
            return load_settings(self.preset)
        finally:
            os.environ.clear()
            os.environ.update(saved)

    def run(self, *arguments: str, exit_code: int = 0) -> str:
        """Run a command to its end and give its stdout."""
        done = subprocess.run(
            [sys.executable, "-m", "stream", *arguments, "-c", self.preset],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == exit_code, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command and leave it running; its output is of no interest."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stream", *arguments, "-c", self.preset],
            env=os.environ | self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def run_json(self, *arguments: str, exit_code: int = 0) -> Any:
        """Run a command with --json and read its answer."""
        return json.loads(self.run(*arguments, "--json", exit_code=exit_code))

    def start_worker(self) -> Worker:
        """Start one more worker and wait until its lanes are open."""
        worker = Worker(self, self._n_workers)
        self._n_workers += 1
        self._processes.append(worker.process)
        worker.wait_ready()
        return worker

    def ledger(self, exit_code: int = 0) -> Any:
        """Reconcile the topics."""
        return self.run_json("reconcile", exit_code=exit_code)

    def wait_until_settled(self, deadline_s: float = 180.0) -> None:
        """Wait until every lane has taken all there is, and no label waits for its event.

        The gauges are some seconds old, and what one lane publishes is another's backlog: it has
        to stay so for a while.
        """
        since = [time.monotonic()]

        def settled() -> bool:
            if not self._idle():
                since[0] = time.monotonic()
            return time.monotonic() - since[0] > SETTLED_S

        eventually(settled, deadline_s=deadline_s, poll_s=0.5)

    def _idle(self) -> bool:
        alive = [w for w in WORKERS.get(self.app, []) if w.process.poll() is None]
        pages = [worker.get("/metrics")[1] for worker in alive]
        lags, waiting = (
            {lane: n for page in pages for lane, n in by_lane(page, gauge).items()}
            for gauge in ("lane_lag_records", "labels_waiting")
        )
        settings = self.settings
        n_lanes = sum(t.partitions(settings.kafka.partitions) for t in inputs(settings))
        return len(lags) == n_lanes and not any(lags.values()) and not any(waiting.values())

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        WORKERS.pop(self.app, None)


WORKERS: dict[str, list[Worker]] = {}


class Worker:
    """One worker process."""

    def __init__(self, cluster: Cluster, index: int) -> None:
        self._log = cluster.folder / f"{cluster.app}-{index}.log"
        self._port_file = cluster.folder / f"{cluster.app}-{index}.port"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stream", "worker", "-c", cluster.preset],
            env=os.environ
            | cluster.environment
            | {"DRIFTLINE_WORKER__HTTP_PORT_FILE": str(self._port_file)},
            stdout=self._log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        WORKERS.setdefault(cluster.app, []).append(self)

    @property
    def log(self) -> str:
        """What the worker has logged."""
        return self._log.read_text(errors="replace")

    def wait_ready(self) -> None:
        """Wait for /readyz; a worker that ends meanwhile, or never is, fails with its log."""

        def ready() -> bool:
            assert self.process.poll() is None, self.log[-4000:]
            return self.get("/readyz")[0] == 200

        eventually(ready, deadline_s=READY_S, poll_s=0.2, message=self._describe)

    def _describe(self) -> str:
        return f"ready; it says {self.get('/readyz')}\n{self.log[-4000:]}"

    def get(self, path: str) -> tuple[int, str]:
        """Get a page of the worker's HTTP server; (0, "") while it does not answer."""
        try:
            port = int(self._port_file.read_text())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, ValueError):
            return 0, ""

    def value(self, metric: str) -> float:
        """Read a metric that has no labels; 0 while it is not there."""
        lines = self.get("/metrics")[1].splitlines()
        prefix = f"driftline_{metric} "
        return next((float(x.removeprefix(prefix)) for x in lines if x.startswith(prefix)), 0.0)

    def kill(self) -> None:
        """SIGKILL, by pid."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; give the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def by_lane(page: str, gauge: str) -> dict[str, float]:
    """Read a gauge that is kept by lane from a page of metrics."""
    prefix = f'driftline_{gauge}{{lane="'
    lines = [line for line in page.splitlines() if line.startswith(prefix)]
    pairs = [line.removeprefix(prefix).split('"} ') for line in lines]
    return {lane: float(value) for lane, value in pairs}


def pause(seconds: float) -> None:
    """Let a fault lie where it is for a while: not a wait for anything to become true."""
    time.sleep(seconds)
