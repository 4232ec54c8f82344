"""Runs in MLflow, in a database of the test's own; and the command that logs them."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("mlflow", reason="the extra driftline[mlflow] is not installed")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from models import checkpoint
from models.checkpoint import CutReason
from models.lineage import Segment
from stream.learners import load_exported, new_learner
from stream.messages import AuditRecord, encode_json
from stream.mlflow_runs import MlflowRuns
from stream.promotions import Entry, Figure, Known
from tests.contract.test_cli_versions import cut_all
from tests.contract.test_cli_with_servers import Application, application, ready

__all__ = ["application", "ready"]

ENTRY = Entry(
    id="c1", name="promote tree: v3-45", time=1_700_000_000.5, text="its losses are lower",
    who="ana", parameters={"act": "promote", "why": ""},
    tags={"driftline.app": "app", "driftline.id": "c1"},
    figures=[Figure("evidence/advantage", n / 100, n) for n in range(1, 5)],
)  # fmt: skip


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database, whose tables take seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def begin(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], MlflowRuns]:
    """Begin to log, as a process that has just started, to an experiment of the test's own."""
    monkeypatch.chdir(tmp_path)
    experiment = uuid.uuid4().hex
    return lambda: MlflowRuns(uri, experiment, "app", 100)


def runs_of(runs: MlflowRuns) -> list:
    return runs._client.search_runs([runs._experiment])


def test_an_entry_is_a_run(begin: Callable[[], MlflowRuns]) -> None:
    """With all that it has, at its own time; and it is known as logged from then on."""
    runs = begin()
    assert runs.logged() == set()
    runs.log(ENTRY, Known(None, b"{}", b"state"))
    (run,) = runs_of(runs)
    assert (run.info.status, run.info.run_name) == ("FINISHED", ENTRY.name)
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_500, 1_700_000_000_500)
    assert run.data.params == ENTRY.parameters
    assert run.data.tags.items() >= ENTRY.tags.items()
    assert run.data.tags["mlflow.user"] == "ana"
    assert run.data.tags["mlflow.note.content"] == ENTRY.text
    history = runs._client.get_metric_history(run.info.run_id, "evidence/advantage")
    assert [(m.step, m.value) for m in history] == [(n, n / 100) for n in range(1, 5)]
    folder = Path(runs._client.download_artifacts(run.info.run_id, ""))
    assert (folder / "version.driftline").read_bytes() == b"state"
    assert (folder / "version.driftline.json").read_bytes() == b"{}"
    assert runs.logged() == begin().logged() == {"c1"}


def test_a_run_that_was_begun_is_filled_and_not_made_again(
    begin: Callable[[], MlflowRuns], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever its first process ended."""

    def end(*anything: object, **more: object) -> None:
        raise KeyboardInterrupt

    for step in ("log_batch", "log_artifact", "set_terminated"):
        runs = begin()
        assert runs.logged() == set(), step
        monkeypatch.setattr(runs._client, step, end)
        with pytest.raises(KeyboardInterrupt):
            runs.log(ENTRY, Known(None, b"{}", b"state"))
    runs = begin()
    assert runs.logged() == set()
    runs.log(ENTRY, Known(None, b"{}", b"state"))
    (run,) = runs_of(runs)
    assert run.info.status == "FINISHED"
    assert len(runs._client.get_metric_history(run.info.run_id, "evidence/advantage")) == 4
    assert begin().logged() == {"c1"}


def test_a_large_version_stays_where_it_is(begin: Callable[[], MlflowRuns]) -> None:
    """So does one that nobody has any more."""
    runs = begin()
    runs.log(ENTRY, Known(None, b"{}", b"x" * 101))
    runs.log(msgspec.structs.replace(ENTRY, id="c2"), Known(None))
    assert [runs._client.list_artifacts(run.info.run_id) for run in runs_of(runs)] == [[], []]


def test_what_somebody_deleted_is_not_logged_again(begin: Callable[[], MlflowRuns]) -> None:
    """And what other applications have logged there is none of ours."""
    runs = begin()
    runs.log(ENTRY, Known(None))
    other = msgspec.structs.replace(ENTRY, id="c3", tags={**ENTRY.tags, "driftline.app": "else",
                                                          "driftline.id": "c3"})  # fmt: skip
    runs.log(other, Known(None))
    runs._client.delete_run(next(r for r in runs_of(runs) if r.data.tags["driftline.id"] == "c1")
                            .info.run_id)  # fmt: skip
    assert begin().logged() == {"c1"}


@pytest.fixture
def promoted(ready: Application, uri: str, monkeypatch: pytest.MonkeyPatch) -> Application:
    """An application with two acts on its audit: one version is stored, one is gone."""
    monkeypatch.chdir(ready.folder)
    ready.file.write_text(f'{ready.file.read_text()}[mlflow]\ntracking_uri = "{uri}"\n')
    cut_all(ready)
    gone, _ = checkpoint.encode(
        new_learner(ready.settings), parent="v1-0", libraries=checkpoint.libraries(),
        cut_time=1.0, reason=CutReason.COMMAND,
    )  # fmt: skip
    told = {"event": "cut", "shard": 0, **msgspec.to_builtins(gone)}
    ready.publish("versions", [encode_json(told)])
    for n, version in enumerate(("v1-0", "v2-50")):
        ready.publish("audit", [encode_json(AuditRecord(
            id=f"c{n}", who="ana", what="rollback", subject="v1-20", outcome="applied", reason="",
            detail="back", time=1_700_000_000.0 + n, why="poison", version=version,
            segments=(Segment(lineage=2, base="v1-20", start=40, command=f"c{n}"),),
        ))])  # fmt: skip
    return ready


def test_the_command_logs_what_is_not_logged_yet(promoted: Application, uri: str) -> None:
    """The sealed version goes along, and loads; of one that is gone what was told of it."""
    lines = promoted.run("mlflow", "--json").stdout.splitlines()
    assert [json.loads(line)["version"] for line in lines] == ["v1-0", "v2-50"]
    assert promoted.run("mlflow").stdout == "0 logged; all others were before\n"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(promoted.app)
    assert experiment is not None
    kept, gone = client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])
    folder = Path(client.download_artifacts(kept.info.run_id, ""))
    learner = load_exported(folder / "version.driftline")
    assert (learner.version_id, learner.fingerprint()) == (
        "v2-50", kept.data.tags["driftline.fingerprint"],
    )  # fmt: skip
    assert kept.data.metrics["total/accuracy"] == learner.metrics()["total"]["accuracy"]
    assert gone.data.params["parent"] == "v1-0"
    assert client.list_artifacts(gone.info.run_id) == []


def test_the_follower_stays_while_mlflow_is_away(
    promoted: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and logs what comes once MLflow is back; nothing twice."""
    log, pauses, really = MlflowRuns.log, iter(range(3)), time.sleep

    def away_at_first(runs: MlflowRuns, entry: Entry, version: Known) -> None:
        if (pause := next(pauses, 9)) < 2:
            raise MlflowException(f"no answer to {pause}")
        log(runs, entry, version)

    def sleep(seconds: float) -> None:
        # Kafka's client sleeps as well.
        if seconds != 0.25:
            really(seconds)
        elif next(pauses, 9) == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(MlflowRuns, "log", away_at_first)
    monkeypatch.setattr("stream.cli.promotions.time.sleep", sleep)
    done = promoted.run("mlflow", "--follow", "--every", "250ms", "--json", exit_code=130)
    assert "again in 250ms" in done.stderr and "no answer to 0" in done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["c0", "c1"]


def test_a_version_that_does_not_verify_goes_without_its_file(promoted: Application) -> None:
    """It may be anybody's."""

    async def damage(store) -> None:
        data, blob = await store.read_version("v2-50")
        await store.restore_version("v2-50", data, blob[:-1])

    promoted.store(damage)
    assert "without its file" in promoted.run("mlflow").stderr
    runs = MlflowRuns(promoted.settings.mlflow.tracking_uri or "", promoted.app, promoted.app, 9)
    assert all(not runs._client.list_artifacts(run.info.run_id) for run in runs_of(runs))
    assert len(runs_of(runs)) == 2


def test_what_is_missing_is_said(ready: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where to log to, the library, or the server."""
    assert "mlflow.tracking_uri is not set" in ready.run("mlflow", exit_code=1).stderr
    ready.file.write_text(f'{ready.file.read_text()}[mlflow]\ntracking_uri = "file:./runs"\n')
    said = ready.run("mlflow", exit_code=1).stderr
    assert "maintenance mode" in said and "sqlite" in said
    monkeypatch.setenv("DRIFTLINE_MLFLOW__TRACKING_URI", "http://127.0.0.1:1")
    assert "MLflow at http://127.0.0.1:1 can't be used" in ready.run("mlflow", exit_code=1).stderr
    monkeypatch.delitem(sys.modules, "stream.mlflow_runs")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert "driftline[mlflow]" in ready.run("mlflow", exit_code=1).stderr
