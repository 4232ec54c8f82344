"""`driftline mlflow`: what became the champion, and why, logged to an experiment tracker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.common import ConfigOption, JsonOption, load, notes, out, print_json
from stream.cli.errors import CommandError, explain
from stream.cli.store import ask_store

if TYPE_CHECKING:
    from models.stores.redis import RedisStore
    from stream.kafka_log import Log
    from stream.mlflow_runs import MlflowRuns
    from stream.promotions import Entry, Known
    from stream.settings import Settings


def mlflow(
    config: ConfigOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay, and log each promotion as it comes.")
    ] = False,
    every: Annotated[
        str, typer.Option(metavar="DURATION", help="With --follow: how often to look.")
    ] = "10s",
    as_json: JsonOption = False,
) -> None:
    """Log promotions, rollbacks and restores to MLflow (mlflow.tracking_uri), each as one run.

    A run has who, why, the metrics at the cut, the fingerprint, the gate's evidence, and the sealed
    version as a file. It reads the audit, from its beginning: what MLflow has already is not logged
    again, whenever this command is ended, and workers do not wait for it. Run one for each
    application. Needs `pip install 'driftline[mlflow]'`.

    For example:

      driftline mlflow -c fraud

      driftline mlflow --follow -c fraud
    """
    from stream.durations import seconds_of
    from stream.kafka_log import open_log
    from stream.promotions import Promotions

    settings = load(config)
    try:
        pause = seconds_of(every)
    except ValueError as error:
        raise CommandError(f"--every: {error}") from None
    runs = _runs(settings)
    n_logged = 0
    with open_log(settings.kafka) as log:
        promotions = Promotions(log, settings.app, runs, _Versions(settings, log))
        while True:
            try:
                for entry in promotions.catch_up():
                    n_logged += 1
                    _tell(entry, as_json=as_json)
            except Exception as error:
                # Servers come back; what is our bug does not get better by waiting.
                said = explain(error, settings)
                if not follow or said is None:
                    raise
                notes().print(f"again in {every}: {said}", style="yellow", markup=False)
            if not follow:
                break
            time.sleep(pause)
    if not as_json:
        out().print(f"{n_logged:,} logged; all others were before")


def _tell(entry: Entry, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": entry.id, "name": entry.name, **entry.parameters})
    else:
        out().print(entry.name, markup=False)


def _runs(settings: Settings) -> MlflowRuns:
    section = settings.mlflow
    if section.tracking_uri is None:
        raise CommandError(
            "mlflow.tracking_uri is not set: give a server (http://127.0.0.1:5000) or a database "
            "(sqlite:////var/lib/driftline/mlflow.db)"
        )
    try:
        from stream.mlflow_runs import MlflowRuns
    except ImportError as error:
        raise CommandError(
            f"MLflow is not installed ({error}): pip install 'driftline[mlflow]'"
        ) from None
    name = section.experiment or settings.app
    return MlflowRuns(section.tracking_uri, name, settings.app, section.version_bytes_max)


class _Versions:
    # In the store if they are still there and verify, else what was told when they were cut.
    def __init__(self, settings: Settings, log: Log) -> None:
        from stream.promotions import CutVersions

        self._settings = settings
        self._cut = CutVersions(log, settings.app)

    def find(self, version: str) -> Known:
        from models.errors import UnknownVersion
        from stream.promotions import Known
        from stream.vault import examine

        async def read(store: RedisStore) -> tuple[bytes, bytes]:
            return await store.read_version(version)

        try:
            data, blob = ask_store(self._settings, read)
        except UnknownVersion:
            return Known(self._cut.get(version))
        verdict = examine(version, data, blob, self._settings.versions.key_ring())
        if verdict.refusal is not None:
            notes().print(f"without its file: {verdict.refusal}", style="yellow", markup=False)
            return Known(self._cut.get(version))
        return Known(verdict.meta, data, blob)
