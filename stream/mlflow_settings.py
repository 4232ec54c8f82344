"""The section `[mlflow]`: where promotions are logged to, by whoever runs `driftline mlflow`."""

from __future__ import annotations

from pydantic import Field

from stream.section import Section


class MlflowSettings(Section):
    """Where `driftline mlflow` logs promotions; the workers never do."""

    tracking_uri: str | None = Field(
        None,
        description="An MLflow server (http://127.0.0.1:5000) or a database of one's own "
        "(sqlite:////var/lib/driftline/mlflow.db). Log in by MLflow's own MLFLOW_TRACKING_TOKEN.",
    )
    experiment: str | None = Field(
        None, min_length=1, description="Its name; made if it is not there. Default: app."
    )
    version_bytes_max: int = Field(
        16 << 20,
        ge=0,
        description="A version that is no larger goes along as a file, sealed; 0: none does.",
    )
