"""`scripts/kafka` starts, reports, restarts and stops a real Kafka, and explains what it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kafka
import kafka.admin
import pytest

from tests.waiting import eventually

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "kafka"
PARTITION = kafka.TopicPartition("kept", 0)


class Kafka:
    """The script, in an environment of its own: its state files and data lie in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(folder),
            "TMPDIR": str(folder),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SCRIPT), *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Run the script against state of its own; nothing of it is left running."""
    script = Kafka(tmp_path_factory.mktemp("kafka"))
    yield script
    for state in script.folder.glob("driftline-kafka-*/*.json"):
        script.run("down", "--name", state.stem)


@pytest.fixture
def running(script: Kafka) -> Iterator[str]:
    """Address of a Kafka that runs under the default name."""
    started = script.run("up")
    assert started.returncode == 0, started.stderr
    yield started.stdout.strip()
    assert script.run("down").returncode == 0


@pytest.mark.real
def test_up_prints_the_address_alone_and_serves(running: str) -> None:
    host, port = running.split(":")

    assert host == "127.0.0.1"
    assert port.isdigit()
    create_topic(running)


@pytest.mark.real
def test_up_again_prints_the_same_address(script: Kafka, running: str) -> None:
    assert script.run("up").stdout.strip() == running


@pytest.mark.real
def test_up_again_on_another_port_is_refused(script: Kafka, running: str) -> None:
    refused = script.run("up", "--port", "19999")

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "scripts/kafka down" in refused.stderr


@pytest.mark.real
def test_down_stops_it_and_removes_its_data(script: Kafka) -> None:
    script.run("up")
    before = script.run("status")
    assert before.returncode == 0
    assert "1 of 1 brokers running" in before.stdout
    assert list(script.folder.glob("driftline-kafka-dev-*"))

    assert script.run("down").returncode == 0

    after = script.run("status")
    assert after.returncode == 3
    assert after.stdout == "dev: not running\n"
    assert not list(script.folder.glob("driftline-kafka-dev-*"))


@pytest.mark.real
@pytest.mark.parametrize("how", [["--kill"], []], ids=["killed", "stopped"])
def test_data_survives_a_restart(script: Kafka, running: str, how: list[str]) -> None:
    create_topic(running)
    write(running, [b"before"])
    pid_before = broker_pid(script)

    restarted = script.run("restart", *how)

    assert restarted.stdout.strip() == running, restarted.stderr
    assert broker_pid(script) != pid_before
    write(running, [b"after"])
    assert read(running, 2) == [b"before", b"after"]


@pytest.mark.real
def test_a_killed_broker_is_reported_and_replaced(script: Kafka, running: str) -> None:
    os.kill(int(broker_pid(script)), 9)
    eventually(lambda: script.run("status").returncode == 3, message="status says not running")

    assert script.run("up").returncode == 0
    assert script.run("status").returncode == 0


@pytest.mark.real
@pytest.mark.slow
def test_one_of_three_brokers_may_be_down(script: Kafka) -> None:
    addresses = script.run("up", "--name", "three", "--brokers", "3").stdout.strip()
    assert addresses.count(",") == 2
    create_topic(addresses, n_replicas=3)
    write(addresses, [b"before"])

    restarted = script.run("restart", "--name", "three", "--broker", "2", "--kill")

    assert restarted.stdout.strip() == addresses, restarted.stderr
    assert read(addresses, 1) == [b"before"]
    assert script.run("down", "--name", "three").returncode == 0


def test_restart_of_nothing_says_how_to_start(script: Kafka) -> None:
    refused = script.run("restart", "--name", "nothing")

    assert refused.returncode == 1
    assert "scripts/kafka up --name nothing" in refused.stderr


def test_down_of_nothing_is_fine(script: Kafka) -> None:
    assert script.run("down", "--name", "nothing").returncode == 0


def test_missing_maven_names_the_package(script: Kafka, tmp_path: Path) -> None:
    refused = script.run("up", "--name", "bare", PATH="/nowhere", XDG_CACHE_HOME=str(tmp_path))

    assert refused.returncode == 1
    assert "apt-get install maven" in refused.stderr


def test_missing_java_names_the_package(script: Kafka, tmp_path: Path) -> None:
    home = tmp_path / "kafka"
    (home / "libs").mkdir(parents=True)
    (home / "libs" / "kafka_2.13-0.jar").touch()

    refused = script.run(
        "up", "--name", "bare", PATH="/nowhere", JAVA_HOME="", KAFKA_HOME=str(home)
    )

    assert refused.returncode == 1
    assert "apt-get install openjdk-17-jre-headless" in refused.stderr


def test_a_kafka_home_without_kafka_is_refused(script: Kafka, tmp_path: Path) -> None:
    refused = script.run("up", "--name", "bare", KAFKA_HOME=str(tmp_path))

    assert refused.returncode == 1
    assert "has no kafka_*.jar" in refused.stderr


def test_a_broken_download_is_not_kept(script: Kafka, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "mvn"
    fake.write_text("#!/bin/sh\necho no route to repository\nexit 1\n")
    fake.chmod(0o755)
    (programs / "java").symlink_to(shutil.which("sh") or "/bin/sh")

    refused = script.run(
        "up", "--name", "bare", PATH=f"{programs}:/bin", XDG_CACHE_HOME=str(tmp_path / "cache")
    )

    assert refused.returncode == 1
    assert "no route to repository" in refused.stderr
    assert not list((tmp_path / "cache" / "driftline").iterdir())


def test_a_name_may_not_leave_its_folder(script: Kafka) -> None:
    assert script.run("up", "--name", "../x").returncode == 2


def create_topic(bootstrap: str, *, n_replicas: int = 1) -> None:
    """Create the one topic of these tests."""
    admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([kafka.admin.NewTopic(PARTITION.topic, 1, n_replicas)])
    admin.close()


def write(bootstrap: str, values: list[bytes]) -> None:
    """Write values and wait until they are acknowledged."""
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for value in values:
        producer.send(PARTITION.topic, value).get(20)
    producer.close()


def read(bootstrap: str, n: int) -> list[bytes]:
    """Read values from the start."""
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, consumer_timeout_ms=20_000
    )
    consumer.assign([PARTITION])
    consumer.seek_to_beginning(PARTITION)
    values = [record.value for _, record in zip(range(n), consumer, strict=False)]
    consumer.close()
    return values


def broker_pid(script: Kafka) -> str:
    """Read the pid of broker 1 from the status line."""
    return script.run("status").stdout.split("pids ")[1].split(",")[0]
