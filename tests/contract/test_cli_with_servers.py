"""The commands against a broker and a Redis: what they publish, read back and account for."""

import asyncio
import collections
import json
import time
import uuid
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.partitioner.default import murmur2
from typer.testing import CliRunner

from models import checkpoint
from models.checkpoint import CutReason
from models.stores.redis import RedisStore
from stream.cli import app
from stream.kafka_log import open_log, open_publisher
from stream.learners import load_exported, new_learner
from stream.messages import encode_json
from stream.replay import fold
from stream.settings import Settings, load_settings

N_PARTITIONS = 4


class Application:
    """An application of its own on the session's servers."""

    def __init__(self, folder: Path, kafka: str, redis_url: str) -> None:
        self.app = f"cli-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.kafka = kafka
        self.redis_url = redis_url
        self.file = folder / "driftline.toml"
        self.configure()

    def configure(self, n_partitions: int = N_PARTITIONS) -> None:
        """Write the configuration."""
        self.file.write_text(
            f'app = "{self.app}"\nkafka.bootstrap = "{self.kafka}"\n'
            f'kafka.partitions = {n_partitions}\nredis.url = "{self.redis_url}"\n'
            '[event]\nentity = "card"\n[event.features.a]\n'
        )

    @property
    def settings(self) -> Settings:
        return load_settings(self.file)

    def run(self, *arguments: str, exit_code: int = 0, **options):
        """Run a command and demand its exit code."""
        result = CliRunner().invoke(app, [*arguments, "-c", str(self.file)], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result

    def run_json(self, *arguments: str, **options):
        """Run a command with --json and read its answer."""
        return json.loads(self.run(*arguments, "--json", **options).stdout)

    def records(self, topic: str) -> list:
        """Read a topic."""
        with open_log(self.settings.kafka) as log:
            return [m for batch in log.read(f"{self.app}.{topic}") for m in batch]

    def publish(self, topic: str, values: list[bytes]) -> None:
        """Publish values to partition 0, in the worker's place."""
        producer = KafkaProducer(bootstrap_servers=self.kafka)
        for value in values:
            producer.send(f"{self.app}.{topic}", value, partition=0)
        producer.flush()
        producer.close()

    def store(self, do):
        """Run a coroutine function with a store."""
        import redis.asyncio

        async def main():
            async with redis.asyncio.Redis.from_url(self.redis_url) as client:
                return await do(RedisStore(client, self.app, ttl=self.settings.join.ttl))

        return asyncio.run(main())


@pytest.fixture
def application(tmp_path: Path, kafka: str, redis_url: str) -> Application:
    """An application without topics."""
    return Application(tmp_path, kafka, redis_url)


@pytest.fixture
def ready(application: Application) -> Application:
    """An application with its topics."""
    application.run("topics", "create")
    return application


def csv_of(folder: Path, n: int) -> Path:
    """Write n rows of 50 cards."""
    file = folder / "rows.csv"
    lines = "".join(f"{i},c{i % 50},{i % 7},{int(i % 7 > 3)}\n" for i in range(n))
    file.write_text(f"id,card,a,label\n{lines}")
    return file


def test_topics_are_created_once(application: Application) -> None:
    """A second time changes nothing; the record of examples has one partition, kept for ever."""
    first = application.run_json("topics", "create")
    second = application.run_json("topics", "create")

    assert all(state["created"] for state in first.values())
    assert not any(state["created"] for state in second.values())
    name = application.app
    assert first[f"{name}.events"]["partitions"] == N_PARTITIONS
    assert first[f"{name}.examples"]["partitions"] == 1
    listed = application.run_json("topics", "list")
    assert listed[f"{name}.events"] == {"partitions": N_PARTITIONS, "records": 0}


def test_missing_topics_are_listed_as_missing(application: Application) -> None:
    """And name the command that creates them where they are needed."""
    assert application.run_json("topics", "list")[f"{application.app}.events"]["partitions"] is None
    result = application.run("tail", "events", exit_code=1)
    assert "driftline topics create" in result.stderr
    file = csv_of(application.folder, 1)
    result = application.run("produce", str(file), exit_code=1)
    assert "driftline topics create" in result.stderr


def test_too_few_partitions_are_an_error(ready: Application) -> None:
    """Adding them moves keys between lanes, so a person has to decide."""
    ready.configure(N_PARTITIONS + 1)

    result = ready.run("topics", "create", exit_code=1)

    assert "kafka.partitions = 5" in result.stderr
    assert "too few" in result.stdout


def test_a_file_becomes_events_and_labels(ready: Application) -> None:
    """Every row once, on the partition where any other Kafka client would put it."""
    report = ready.run_json("produce", str(csv_of(ready.folder, 1000)))

    assert (report["events"], report["labels"], report["invalid"]) == (1000, 1000, {})
    events = ready.records("events")
    assert sorted(json.loads(m.value)["id"] for m in events) == sorted(map(str, range(1000)))
    for m in [*events, *ready.records("labels")]:
        assert m.partition == (murmur2(m.key) & 0x7FFFFFFF) % N_PARTITIONS
    by_card = collections.defaultdict(list)
    for m in events:
        by_card[m.key].append(int(json.loads(m.value)["id"]))
    assert all(ids == sorted(ids) for ids in by_card.values())
    assert len(by_card) == 50


def test_a_window_of_a_file(ready: Application) -> None:
    """Skip some rows, take some, leave the labels for later."""
    file = str(csv_of(ready.folder, 100))
    ready.run("produce", file, "--offset-rows", "10", "--limit", "5", "--no-labels")
    ready.run("produce", file, "--offset-rows", "10", "--limit", "5", "--labels-only")

    events = {json.loads(m.value)["id"] for m in ready.records("events")}
    labels = {json.loads(m.value)["id"] for m in ready.records("labels")}
    assert events == labels == {"10", "11", "12", "13", "14"}


def test_a_rate_is_kept(ready: Application) -> None:
    """Two hundred a second."""
    started = time.perf_counter()
    report = ready.run_json("produce", str(csv_of(ready.folder, 200)), "--rate", "200")

    assert report["seconds"] >= 0.99
    assert time.perf_counter() - started < 5.0


def test_stdin_is_json_lines(ready: Application) -> None:
    """What is not an event passes too, and is counted by the reason of its dead letter."""
    lines = '{"id": 1, "card": "x", "a": 1, "label": 1}\nnonsense\n'

    report = ready.run_json("produce", "-", input=lines)

    assert (report["events"], report["labels"]) == (2, 1)
    assert report["invalid"] == {"not_json": 1}
    assert {m.value for m in ready.records("events")} == {
        b'{"id":1,"card":"x","a":1}',
        b"nonsense",
    }


def test_tail_prints_a_line_for_each_record(ready: Application) -> None:
    """Raw for programs, readable for people."""
    ready.publish("alerts", [score(1, decision="alert")])

    line = ready.run("tail", "alerts", "--from-beginning", "--limit", "1").stdout
    raw = ready.run("tail", "alerts", "--from-beginning", "--limit", "1", "--json").stdout

    assert "e1 0.5000 alert by v1-0" in line
    assert json.loads(raw)["event_id"] == "e1"


def test_replay_proves_a_version(ready: Application) -> None:
    """The same log gives the same fingerprint; another state does not."""
    log = [example(i) for i in range(500)]
    ready.publish("examples", log)
    learner = new_learner(ready.settings)
    list(fold(learner, [list(enumerate(log[:400]))]))
    cut(ready, learner)

    whole = ready.run_json("replay")
    assert (whole["position"], whole["learned"]) == (500, 500)
    part = ready.run_json("replay", "--to-position", "400")
    assert part["fingerprint"] == learner.fingerprint()
    assert ready.run_json("replay", "--version", "latest")["equal"]
    assert "equal to the stored" in ready.run("replay", "--version", "v1-400").stdout
    assert "beyond the end" in ready.run("replay", "--to-position", "501", exit_code=1).stderr


def test_replay_tells_another_state_apart(ready: Application) -> None:
    """Exit code 1: the stored version did not come from this log."""
    ready.publish("examples", [example(i) for i in range(50)])
    learner = new_learner(ready.settings)
    list(fold(learner, [[(i, example(i, label=False)) for i in range(50)]]))
    cut(ready, learner)

    assert not ready.run_json("replay", "--version", "latest", exit_code=1)["equal"]


def test_versions_are_listed_shown_and_exported(ready: Application) -> None:
    """What is exported loads and predicts the same."""
    learner = new_learner(ready.settings)
    list(fold(learner, [[(i, example(i)) for i in range(50)]]))
    assert "no version has been cut" in ready.run("versions", "show", "latest", exit_code=1).stderr
    cut(ready, learner)

    assert [v["id"] for v in ready.run_json("versions", "list")] == ["v1-50"]
    assert ready.run_json("versions", "show", "latest")["fingerprint"] == learner.fingerprint()
    assert "there are: v1-50" in ready.run("versions", "show", "v9-9", exit_code=1).stderr
    file = ready.folder / "model"
    ready.run("versions", "export", "v1-50", str(file))
    assert load_exported(file).fingerprint() == learner.fingerprint()
    assert "--force" in ready.run("versions", "export", "v1-50", str(file), exit_code=1).stderr


def test_reconcile_adds_up_and_finds_what_is_missing(ready: Application) -> None:
    """Outputs in the worker's place: a decision each, one repeated; then one too few."""
    with open_publisher(ready.settings.kafka) as publisher:
        for i in range(4):
            value = json.dumps({"id": f"e{min(i, 2)}", "card": "c", "a": 1.0}).encode()
            publisher.publish(f"{ready.app}.events", b"c", value)
        publisher.flush()
    partition = ready.records("events")[0].partition
    scores = [score(i, partition=partition) for i in range(3)]
    ready.publish("scores", [*scores, scores[0]])
    take(ready, f"score.{partition}", 4)

    report = ready.run_json("reconcile")
    assert report["adds_up"]
    assert report["events"]["repeated ids, decided before"] == 1
    assert report["redelivered"] == {"scores": 1}

    ready.publish("scores", [score(0, partition=partition, value=0.9)])
    report = ready.run_json("reconcile", exit_code=1)
    assert report["conflicts"] == {"different decisions for one event": 1}

    ready.run("produce", str(csv_of(ready.folder, 1)), "--labels-only")
    label = ready.records("labels")[0].partition
    take(ready, f"label.{label}", 1)
    assert ready.run_json("reconcile", exit_code=1)["labels"]["MISSING"] == 1
    assert "DOES NOT ADD UP" in ready.run("reconcile", exit_code=1).stdout


def score(i: int, *, partition: int = 0, value: float = 0.5, decision: str = "pass") -> bytes:
    """Write the decision of the event at offset i."""
    body = {"event_id": f"e{i}", "partition": partition, "offset": i, "score": value}
    rest = {"decision": decision, "threshold": 0.5, "version": "v1-0", "entity": None}
    return json.dumps({**body, **rest}).encode()


def example(i: int, label: bool | None = None) -> bytes:
    """Write an example."""
    from models.types import Example

    truth = i % 3 == 0 if label is None else label
    return encode_json(
        Example(f"e{i}", {"a": float(i % 7)}, truth, 0.5, "v1-0", 0, 0.0, 1.0, "labels/0", i, i)
    )


def cut(application: Application, learner) -> None:
    """Store a version in the worker's place."""
    meta, blob = checkpoint.encode(
        learner,
        parent=None,
        libraries=checkpoint.libraries(),
        cut_time=1.0,
        reason=CutReason.STOP,
    )

    async def do(store: RedisStore) -> None:
        lease = await store.acquire("learn.0")
        data = checkpoint.seal(meta, blob, application.settings.versions.key_ring())
        await store.cut_version(lease, learner.position, meta.id, data, blob, 10)

    application.store(do)


def take(application: Application, lane: str, position: int) -> None:
    """Commit a lane's position in the worker's place."""

    async def do(store: RedisStore) -> None:
        await store.commit(await store.acquire(lane), position, {})

    application.store(do)
