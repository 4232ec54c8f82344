"""The section [drift] of the settings: detectors, budgets, and what a drift does to the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from models.detectors import CALIBRATED
from models.response import Policy
from stream.alarm_budget import AlarmBudgetText
from stream.section import Section

_OF_SEGMENTS = {"segments_max", "segments_act"}


class DriftSettings(Section):
    """How readily drift is called, and what is done about it."""

    detector: str = Field(
        "adwin",
        description="adwin, page-hinkley, or module:Class of River or your own, "
        "which knows no budget.",
    )
    options: dict[str, Any] = Field({}, description="Arguments of such a class.")
    budget: AlarmBudgetText | None = Field(
        None,
        description="False-alarm budget in words, of confirmations: `1 per 30 days` (of event "
        "time; also hours, weeks, 36h) or `1 per 100000 examples`. Warnings may be ten times as "
        "frequent. Without it the next two hold.",
    )
    confirmed_every: int = Field(
        100_000,
        ge=1000,
        le=10_000_000,
        description="False-alarm budget: one false confirmation in so many examples.",
    )
    warning_every: int = Field(
        10_000, ge=1000, le=10_000_000, description="The same of warnings; not above the other."
    )
    segment: str | None = Field(
        None,
        description="Feature by whose values the error, the scores and the features are watched "
        "as well; the budgets stay what they are in all.",
    )
    segments_max: int = Field(
        8,
        ge=1,
        le=100,
        description="So many values, the commonest, have a watch each; all others share one.",
    )
    segments_act: bool = Field(
        False,
        description="Policies act on the drift of a segment as well; else it is reported only.",
    )
    label_free: bool = Field(
        True,
        description="Workers watch scores and features as they score; the same budgets hold for "
        "each of the two.",
    )
    policy: Policy = Field(
        Policy.ALERT,
        description="What a drift does to the model: alert (nothing), retrain, reset, recall, "
        "schedule or rolling; a part of a learner from its first example on.",
    )
    two_sided: bool = Field(
        False, description="Policies act on an error that fell as well; else it is reported only."
    )
    bakeoff_n: int = Field(
        200,
        ge=20,
        le=100_000,
        description="retrain, schedule: labels that decide between the model and a background "
        "learner, which learns as many before.",
    )
    every_n: int = Field(
        10_000, ge=100, description="schedule: a background learner starts every so many examples."
    )
    window_n: int = Field(
        30_000,
        ge=100,
        description="rolling: the model has learned the last examples, at most so many and at "
        "least half.",
    )
    memory_n: int = Field(
        8, ge=1, le=100, description="recall: models of the past that are kept with the model."
    )

    def check(self, features: Sequence[str]) -> None:
        """Refuse a segment that is none of the features.

        Raises
        ------
        ValueError
            With the features that there are.
        """
        if self.segment is not None and self.segment not in features:
            raise ValueError(
                f"drift.segment names {self.segment!r}, which is no feature; there are "
                + ", ".join(sorted(features))
            )

    @property
    def _chosen(self) -> set[str]:
        # What is set to its default may come from a dump of the settings.
        fields = type(self).model_fields
        return {n for n in self.model_fields_set if getattr(self, n) != fields[n].default}

    @model_validator(mode="after")
    def _check(self) -> DriftSettings:
        if self.budget is not None and (
            both := {"confirmed_every", "warning_every"} & self._chosen
        ):
            raise ValueError(f"budget and {min(both)} are two budgets: set one of them")
        if self.segment is None and (unused := _OF_SEGMENTS & self._chosen):
            raise ValueError(f"{min(unused)} says nothing without segment")
        if self.warning_every > self.confirmed_every:
            raise ValueError("warning_every must not be above confirmed_every, the strict one")
        if self.every_n <= 2 * self.bakeoff_n:
            raise ValueError("every_n must be above twice bakeoff_n: one comparison at a time")
        if self.options and ":" not in self.detector:
            raise ValueError(f"options are of a module:Class; {self.detector!r} has its budget")
        if ":" not in self.detector and self.detector not in CALIBRATED:
            raise ValueError(
                f"no detector {self.detector!r}: there are {', '.join(CALIBRATED)}, or module:Class"
            )
        return self
