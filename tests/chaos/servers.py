"""The real servers of a run, and what is done to them."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from stream.embedded import HOST, find_redis, free_port
from tests.waiting import eventually

KAFKA_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "kafka"
KAFKA_DEADLINE_S = 600.0  # The first start downloads Kafka.


class Kafka:
    """A Kafka of our own, by `scripts/kafka`; restarts go on in the background."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._restart: subprocess.Popen[bytes] | None = None
        started = self._run("up")
        if started.returncode != 0:
            raise RuntimeError(f"no Kafka:\n{started.stderr}")
        self.bootstrap = started.stdout.strip()

    @property
    def restarting(self) -> bool:
        """Whether a restart has not ended yet; an error if it failed."""
        if self._restart is None or self._restart.poll() is None:
            return self._restart is not None
        if self._restart.returncode != 0:
            raise RuntimeError(f"Kafka did not come back: status {self._restart.returncode}")
        self._restart = None
        return False

    def restart(self, *, kill: bool) -> None:
        """Restart the broker, by SIGKILL or by SIGTERM."""
        command = [sys.executable, str(KAFKA_SCRIPT), "restart", "--name", self._name]
        self._restart = subprocess.Popen(
            [*command, "--kill"] if kill else command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        """Stop it, and remove its data."""
        if self._restart is not None:
            self._restart.wait(KAFKA_DEADLINE_S)
        self._run("down")

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(KAFKA_SCRIPT), command, "--name", self._name],
            capture_output=True,
            text=True,
            check=False,
            timeout=KAFKA_DEADLINE_S,
        )


class Redis:
    """A Redis that keeps every write that it has confirmed: it may be killed at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://{HOST}:{self._port}/0"
        self.start()

    def start(self) -> None:
        """Start it on its port and data."""
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    find_redis(),
                    *("--bind", HOST, "--port", str(self._port), "--dir", str(self._folder)),
                    *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
                ],
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, deadline_s=60.0, message="Redis answers")

    def kill(self) -> None:
        """SIGKILL, by pid."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it hold connections and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it for good."""
        if self._process.poll() is None:
            self.thaw()
            self.kill()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Redis did not start: see redis.log"
        with contextlib.suppress(OSError), socket.create_connection((HOST, self._port), 1.0) as s:
            s.settimeout(1.0)
            s.sendall(b"PING\r\n")
            return s.recv(5) == b"+PONG"
        time.sleep(0.05)
        return False
