"""Entries as runs of an MLflow experiment; the only importer of `mlflow`.

A run is made with the act's id as a tag, filled, and ended. Filling twice changes nothing: MLflow
keeps equal values once. So a run that was not ended, because whoever logged it was, is filled again
by the next one; and runs that were ended say what is logged.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

# It tells its makers how it is used, unless told not to: not from here, unless somebody wants that.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Whoever follows tries again, and whoever looks once wants to know.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag, ViewType

from stream.learners import metadata_file
from stream.promotions import Entry, Known

for _name in ("mlflow", "alembic"):
    # That it has made its tables is of no interest.
    logging.getLogger(_name).setLevel(logging.WARNING)

PAGE = 1_000
ID_TAG = "driftline.id"
ENDED = "FINISHED"
FILE = "version.driftline"


class MlflowRuns:
    """The runs of one application in an experiment.

    Parameters
    ----------
    version_bytes_max
        A version that is no larger goes along, as `driftline versions export` writes it.
    """

    def __init__(self, uri: str, experiment: str, app: str, version_bytes_max: int) -> None:
        self._client = MlflowClient(uri)
        self._app = app
        self._version_bytes_max = version_bytes_max
        known = self._client.get_experiment_by_name(experiment)
        self._experiment: str = (
            self._client.create_experiment(experiment) if known is None else known.experiment_id
        )
        self._begun: dict[str, str] = {}

    def logged(self) -> set[str]:
        """Give the ids of the acts whose runs have ended."""
        ended, self._begun = set(), {}
        for run in self._runs():
            act = run.data.tags[ID_TAG]
            # What somebody has deleted is not wanted again.
            if run.info.status == ENDED or run.info.lifecycle_stage == LifecycleStage.DELETED:
                ended.add(act)
            else:
                self._begun[act] = run.info.run_id
        return ended

    def log(self, entry: Entry, version: Known) -> None:
        """Make a run of it, or fill the one that `logged` has found begun, and end it."""
        client, when = self._client, round(entry.time * 1000)
        if entry.id not in self._begun:
            run = client.create_run(
                self._experiment, start_time=when, tags=dict(entry.tags), run_name=entry.name
            )
            self._begun[entry.id] = run.info.run_id
        run_id = self._begun[entry.id]
        tags = {**entry.tags, "mlflow.user": entry.who, "mlflow.source.name": "driftline",
                "mlflow.note.content": entry.text}  # fmt: skip
        client.log_batch(
            run_id,
            metrics=[Metric(f.name, f.value, when, f.step) for f in entry.figures],
            params=[Param(name, value) for name, value in entry.parameters.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        if version.blob is not None and len(version.blob) <= self._version_bytes_max:
            self._attach(run_id, version.data, version.blob)
        client.set_terminated(run_id, ENDED, end_time=when)
        del self._begun[entry.id]

    def _attach(self, run_id: str, data: bytes, blob: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / FILE
            for path, content in ((file, blob), (metadata_file(file), data)):
                path.write_bytes(content)
                self._client.log_artifact(run_id, str(path))

    def _runs(self) -> list[Run]:
        found, token = [], None
        while page := self._client.search_runs(
            [self._experiment], f"tags.`driftline.app` = '{self._app}'", ViewType.ALL, PAGE,
            page_token=token,
        ):  # fmt: skip
            found += [run for run in page if ID_TAG in run.data.tags]
            token = page.token
            if not token:
                break
        return found
