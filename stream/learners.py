"""Build the learner that the configuration describes.

Why here: the worker, `driftline evaluate` and `driftline replay` have to start from the very same
learner, or a replay would prove nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from models import checkpoint
from models.drift import DriftSettings
from models.learner import Learner
from models.pipelines import build
from stream.settings import Settings


def new_learner(settings: Settings, lineage: int = 1) -> Learner:
    """Build a fresh learner of a lineage: nothing learned, position 0.

    Raises
    ------
    InvalidPipeline
        When `model.pipeline` names no pipeline, or one that can't do `model.task`.
    """
    model = settings.model
    return Learner(
        build(model.pipeline, model.task, model.seed),
        model.task,
        threshold=model.threshold,
        drift=DriftSettings(
            warning_delta=settings.drift.warning_delta,
            drift_delta=settings.drift.confirmed_delta,
        ),
        rolling_n=model.rolling_n,
        lineage=lineage,
    )


def metadata_file(file: Path) -> Path:
    """Name the file of metadata that belongs to an exported version."""
    return file.with_name(f"{file.name}.json")


def load_exported(file: str | Path, trusted_modules: Collection[str] = ()) -> Learner:
    """Load what `driftline versions export` wrote, with all the checks of a checkpoint.

    `trusted_modules` are those of your own pipeline, if it is one (`"acme.fraud"`).

    Raises
    ------
    CheckpointCorrupt
        When anything does not verify; the message says what.
    """
    path = Path(file)
    meta = checkpoint.decode_meta(metadata_file(path).read_bytes())
    return checkpoint.decode(meta, path.read_bytes(), trusted_modules=trusted_modules)
