"""Servers and data for tests. All of it is lazy: a test that asks for nothing starts nothing.

| variable | instead of |
|-|-|
| `DRIFTLINE_TEST_KAFKA=host:port` | the Kafka that `scripts/kafka up` starts for the session |
| `DRIFTLINE_TEST_REDIS=redis://host:port/db` | the Redis started for the session |
| `DRIFTLINE_DATA=folder` | `../shared/data` |
| `DRIFTLINE_LONG=1` | leaving out the tests that take minutes |
| `CI=true` | falling back to the embedded broker when Kafka can't be had: an error there |

A test marked `real` is about Kafka itself; it is skipped on the embedded broker, and the last
lines of the run say so.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.embedded import EmbeddedKafka, EmbeddedRedis

REPOSITORY = Path(__file__).resolve().parent.parent
KAFKA_SCRIPT = REPOSITORY / "scripts" / "kafka"
KAFKA_UP_DEADLINE_S = 600.0  # the first start downloads Kafka


@dataclasses.dataclass(frozen=True)
class Broker:
    """A running broker."""

    bootstrap: str
    is_real: bool


@dataclasses.dataclass
class Unchecked:
    """Why the session has no real Kafka, and what that left unchecked."""

    reason: str = ""
    tests: list[str] = dataclasses.field(default_factory=list)


UNCHECKED = pytest.StashKey[Unchecked]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[UNCHECKED] = Unchecked()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    unchecked = config.stash[UNCHECKED]
    if not unchecked.reason:
        return
    files = ", ".join(sorted({test.split("::")[0] for test in unchecked.tests})) or "none chosen"
    terminalreporter.write_line(
        f"NOT ON KAFKA: this run used the embedded broker ({unchecked.reason}). Not checked:"
        f" {len(unchecked.tests)} tests marked `real`, in {files}.",
        yellow=True,
    )


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Iterator[Broker]:
    """The session's broker: the one named, else a real Kafka, else the embedded one."""
    if named := os.environ.get("DRIFTLINE_TEST_KAFKA"):
        yield Broker(named, is_real=True)
        return
    name = f"test-{os.getpid()}"
    started = run_kafka("up", "--name", name)
    if started.returncode == 0:
        try:
            yield Broker(started.stdout.strip(), is_real=True)
        finally:
            run_kafka("down", "--name", name)
        return
    if os.environ.get("CI") == "true":
        raise RuntimeError(f"scripts/kafka up failed:\n{started.stderr}")
    errors = [line for line in started.stderr.splitlines() if "error: " in line]
    reason = errors[0].split("error: ", 1)[1] if errors else "scripts/kafka up failed"
    pytestconfig.stash[UNCHECKED].reason = reason
    with EmbeddedKafka() as embedded:
        yield Broker(embedded.bootstrap, is_real=False)


@pytest.fixture(scope="session")
def kafka(broker: Broker) -> str:
    """Address of the session's broker, `host:port`."""
    return broker.bootstrap


@pytest.fixture(scope="session")
def kafka_is_real(broker: Broker) -> bool:
    """Whether `kafka` is Apache Kafka and not the embedded broker."""
    return broker.is_real


@pytest.fixture(autouse=True)
def _skip_real_tests_without_kafka(request: pytest.FixtureRequest) -> None:
    """Skip a test marked `real` where the session has no real Kafka, and take note of it."""
    if request.node.get_closest_marker("real") is None or request.getfixturevalue("kafka_is_real"):
        return
    unchecked = request.config.stash[UNCHECKED]
    unchecked.tests.append(request.node.nodeid)
    pytest.skip(f"needs a real Kafka: {unchecked.reason}")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Address of the session's Redis, which writes an append-only file as in production."""
    if named := os.environ.get("DRIFTLINE_TEST_REDIS"):
        yield named
        return
    with EmbeddedRedis(appendonly=True) as server:
        yield server.url


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real streams; tests of it are skipped where there is none."""
    folder = Path(os.environ.get("DRIFTLINE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real streams: {folder} is no folder, set DRIFTLINE_DATA to theirs")
    return folder


@pytest.fixture(scope="session")
def data_file(data_dir: Path) -> Callable[[str], Path]:
    """Find a file of real data by name; the test is skipped where there is none."""

    def find(name: str) -> Path:
        path = data_dir / name
        if not path.is_file():
            pytest.skip(f"no {name} in {data_dir}: set DRIFTLINE_DATA to a folder that has it")
        return path

    return find


def run_kafka(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `scripts/kafka` to its end."""
    return subprocess.run(
        [sys.executable, str(KAFKA_SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=KAFKA_UP_DEADLINE_S,
    )
