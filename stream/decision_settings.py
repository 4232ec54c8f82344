"""Settings of what becomes of a score: the rule of decision, reasons; of rare classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from models.rare import RareClasses
from models.thresholds import (
    AlertsAnHour,
    AlertShare,
    Budget,
    ExpectedCost,
    problem_with,
)
from models.types import Task
from stream.explaining import Explaining
from stream.section import Section

_NEEDS = {
    "fixed": (),
    "share": ("alert_share",),
    "hourly": ("alerts_per_hour",),
    "cost": ("false_positive_cost", "false_negative_cost"),
}


class DecisionSettings(Section):
    """Which scores alert, unless `driftline threshold` has said otherwise."""

    rule: Literal["fixed", "share", "hourly", "cost"] = Field(
        "fixed",
        description="fixed: those from model.threshold on; share, hourly: the highest, within a "
        "budget of alerts; cost: those where silence is expected to cost more than an alert.",
    )
    alert_share: float | None = Field(
        None, gt=0, lt=1, description="For share: the share of events that may alert."
    )
    alerts_per_hour: float | None = Field(
        None, gt=0, description="For hourly: alerts in an hour of event time, on average."
    )
    window_n: int = Field(
        50_000, ge=100, description="For share and hourly: scores that the budget is kept over."
    )
    false_positive_cost: float | None = Field(
        None, gt=0, description="For cost: what an alert on a negative costs."
    )
    false_negative_cost: float | None = Field(
        None, gt=0, description="For cost: what a positive without an alert costs."
    )

    @model_validator(mode="after")
    def _complete(self) -> DecisionSettings:
        for name in _NEEDS[self.rule]:
            if getattr(self, name) is None:
                raise ValueError(f"the rule {self.rule} needs {name}")
        for rule, names in _NEEDS.items():
            for name in names:
                if rule != self.rule and getattr(self, name) is not None:
                    raise ValueError(f"{name} is for the rule {rule}, and rule is {self.rule}")
        return self

    def budget(self) -> Budget | None:
        """Give the budget of alerts to keep; None if the threshold does not move."""
        if self.alert_share is not None:
            return AlertShare(self.alert_share, self.window_n)
        if self.alerts_per_hour is not None:
            return AlertsAnHour(self.alerts_per_hour, self.window_n)
        return None

    def threshold(self, fixed: float) -> float:
        """Give the threshold to begin with, which is `fixed` except by costs."""
        costs = self._costs()
        return fixed if costs is None else costs.threshold

    def _costs(self) -> ExpectedCost | None:
        if self.false_positive_cost is None or self.false_negative_cost is None:
            return None
        return ExpectedCost(self.false_positive_cost, self.false_negative_cost)

    def problem(self, task: Task) -> str | None:
        """Say why the rule makes no sense for a task; None if it does."""
        rule = self.budget() or self._costs()
        return None if rule is None else problem_with(rule, task)


class RareSettings(Section):
    """How a rare positive class is learned; a change makes another model, from the log's start."""

    negatives_kept: float = Field(
        1.0, gt=0, le=1, description="Share of negatives that is learned; probabilities are right."
    )
    positive_weight: float = Field(
        1.0, gt=0, le=1000, description="What a positive weighs; probabilities are right."
    )
    calibration: Literal["none", "platt"] = Field(
        "none", description="platt: learn, from labels as they come, to say honest probabilities."
    )
    calibration_n: int = Field(
        20_000, ge=100, description="Examples after which calibration has mostly forgotten one."
    )

    def classes(self) -> RareClasses:
        """Give it as the learner takes it."""
        return RareClasses(
            self.negatives_kept, self.positive_weight, self.calibration, self.calibration_n
        )


def _is_binary(rare: RareSettings, info: ValidationInfo) -> RareSettings:
    model = info.data.get("model")
    if model is not None and model.task is not Task.BINARY and not rare.classes().is_plain:
        raise ValueError(f"rare classes are for binary tasks, and model.task is {model.task}")
    return rare


BinaryRareSettings = Annotated[RareSettings, AfterValidator(_is_binary)]


class ReasonSettings(Section):
    """Why a score is what it is, told with the decision."""

    of: Literal["alerts", "scores", "none"] = Field(
        "alerts", description="Which decisions carry reasons."
    )
    top_n: int = Field(3, ge=1, le=100, description="Features that are named, the strongest first.")
    names: dict[str, str] = Field(
        {}, description="What people call a feature, by the name that it has before the scaler."
    )
    importance_n: int = Field(
        1_000,
        ge=1,
        le=100_000,
        description="Explained scores of a partition that the importance is the mean of.",
    )

    def explaining(self, task: Task) -> Explaining | None:
        """Give what chooses scores to explain; None if none are."""
        explainable: tuple[Task, ...] = (Task.BINARY, Task.ANOMALY)
        if self.of == "scores":
            explainable = (*explainable, Task.REGRESSION)
        if self.of == "none" or task not in explainable:
            return None
        return Explaining(
            every=self.of == "scores",
            top_n=self.top_n,
            names=self.names,
            importance_n=self.importance_n,
        )


def _fits_the_task(decision: DecisionSettings, info: ValidationInfo) -> DecisionSettings:
    model = info.data.get("model")
    problem = None if model is None else decision.problem(model.task)
    if problem is not None:
        raise ValueError(f"rule {decision.rule}: {problem}")
    return decision


FittingDecisionSettings = Annotated[DecisionSettings, AfterValidator(_fits_the_task)]
