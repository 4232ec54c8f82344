"""Build the learner that the configuration describes.

Why here: the worker, `driftline evaluate` and `driftline replay` have to start from the very same
learner, or a replay would prove nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from msgspec.structs import replace

from models import checkpoint
from models.drift import DriftSettings
from models.errors import InvalidPipeline
from models.learner import Learner
from models.lineage import Fresh, Segment
from models.pipelines import build, takes_weight, trusted_modules
from models.response import ResponseSettings
from models.sealing import KeyRing
from models.types import Example, Features, FeatureValue, Task, Truth
from stream import drift_section
from stream.alarm_budget import budget_of
from stream.settings import Settings


def new_learner(settings: Settings, lineage: int = 1, fresh: Fresh | None = None) -> Learner:
    """Build a fresh learner of a lineage: nothing learned, position 0.

    `fresh` names another pipeline and seed than the configured ones. It may come from a command or
    from Redis: whoever can write there may not therefore run code here.

    Raises
    ------
    InvalidPipeline
        When there is no such pipeline, or it can't do `model.task`, or nobody has allowed it.
    """
    model = settings.model
    if fresh is not None and ":" in fresh.pipeline:
        allowed = (model.pipeline, *settings.challengers.own_pipelines())
        if fresh.pipeline not in allowed:
            raise InvalidPipeline(f"challengers.pipelines does not have {fresh.pipeline!r}")
    pipeline, seed = (model.pipeline, model.seed) if fresh is None else (fresh.pipeline, fresh.seed)
    built = build(pipeline, model.task, seed)
    if settings.rare.positive_weight != 1.0 and not takes_weight(built):
        raise InvalidPipeline(
            f"the pipeline {pipeline!r} takes no weights, as rare.positive_weight needs: lower "
            "rare.negatives_kept instead"
        )
    return Learner(
        built,
        model.task,
        threshold=settings.decision.threshold(model.threshold),
        budget=settings.decision.budget(),
        rare=settings.rare.classes(),
        drift=drift_settings(settings.drift),
        response=ResponseSettings(
            policy=settings.drift.policy,
            two_sided=settings.drift.two_sided,
            bakeoff_n=settings.drift.bakeoff_n,
            every_n=settings.drift.every_n,
            window_n=settings.drift.window_n,
            memory_n=settings.drift.memory_n,
            segments=settings.drift.segments_act,
        ),
        rolling_n=model.rolling_n,
        lineage=lineage,
    )


def learner_before(settings: Settings, segments: Sequence[Segment]) -> Learner:
    """Build the untrained learner that a version with these segments began as."""
    fresh = segments[0].fresh if segments else None
    return new_learner(settings) if fresh is None else new_learner(settings, 0, fresh)


def trusted(settings: Settings) -> tuple[str, ...]:
    """Name the modules that a version may name: of the pipelines allowed, and of the detector."""
    pipelines = (settings.model.pipeline, *settings.challengers.own_pipelines())
    return trusted_modules(*pipelines, settings.drift.detector)


def drift_settings(drift: drift_section.DriftSettings) -> DriftSettings:
    """Give the core what it has to know of [drift] to watch."""
    settings = DriftSettings(
        detector=drift.detector,
        confirmed_every=drift.confirmed_every,
        warning_every=drift.warning_every,
        options=drift.options,
        segment=drift.segment,
        segments_max=drift.segments_max,
    )
    if drift.budget is None:
        return settings
    budget = budget_of(drift.budget)
    if budget.examples is not None:
        return settings.every(budget.examples)
    return replace(settings, confirmed_s=budget.seconds)


def check_learner(settings: Settings) -> Learner:
    """Build the learner and let a copy of it score and learn one event of the configured fields.

    Pipelines differ in what they take: many want numbers only. It is found here, not at the first
    event.

    Raises
    ------
    InvalidPipeline
        When there is no such pipeline, or it can't take such events.
    """
    features: Features = {
        name: _SPECIMENS[feature.type] for name, feature in settings.event.features.items()
    }
    features |= dict.fromkeys(settings.features.names(), 0.5)
    rehearsal = new_learner(settings)
    try:
        score = rehearsal.score(features)
        example = Example(
            "rehearsal", features, _TRUTHS[settings.model.task],
            score if isinstance(score, float | int) else dict(score),
            rehearsal.version_id, 0, 0.0, 0.0, "labels/0", 0, 0,
        )  # fmt: skip
        rehearsal.absorb([example], [0])
        rehearsal.score(features)
    except Exception as error:
        texts = [n for n, f in settings.event.features.items() if f.type == "category"]
        hint = f" Perhaps it takes numbers only: {', '.join(texts)} are text." if texts else ""
        raise InvalidPipeline(
            f"model.pipeline {settings.model.pipeline!r} can't take the events of "
            f"[event.features]: {error.__cause__ or error!r}.{hint}"
        ) from error
    return new_learner(settings)


_SPECIMENS: dict[str, FeatureValue] = {
    "number": 0.5,
    "integer": 1,
    "category": "a",
    "boolean": True,
}
_TRUTHS: dict[Task, Truth] = {
    Task.BINARY: True,
    Task.ANOMALY: True,
    Task.MULTICLASS: "a",
    Task.REGRESSION: 1.0,
}


def metadata_file(file: Path) -> Path:
    """Name the file of metadata that belongs to an exported version."""
    return file.with_name(f"{file.name}.json")


def load_exported(
    file: str | Path, trusted_modules: Collection[str] = (), keys: KeyRing | None = None
) -> Learner:
    """Load what `driftline versions export` wrote, with all the checks of a checkpoint.

    `trusted_modules` are those of your own pipeline, if it is one (`"acme.fraud"`). With `keys`
    (from `models.KeyRing.parse`) only what they have signed loads.

    Raises
    ------
    CheckpointCorrupt
        When anything does not verify; the message says what.
    """
    path = Path(file)
    data = metadata_file(path).read_bytes()
    return checkpoint.restore(data, path.read_bytes(), keys, trusted_modules=trusted_modules)[1]
