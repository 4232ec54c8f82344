"""Settings of what becomes of a score: the rule of decision, reasons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

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


class ReasonSettings(Section):
    """Why a score is what it is, told with the decision."""

    of: Literal["alerts", "scores", "none"] = Field(
        "alerts", description="Which decisions carry reasons."
    )
    top_n: int = Field(3, ge=1, le=100, description="Features that are named, the strongest first.")
    names: dict[str, str] = Field(
        {}, description="What people call a feature, by the name that it has before the scaler."
    )

    def explaining(self, task: Task) -> Explaining | None:
        """Give what chooses scores to explain; None if none are."""
        explainable: tuple[Task, ...] = (Task.BINARY, Task.ANOMALY)
        if self.of == "scores":
            explainable = (*explainable, Task.REGRESSION)
        if self.of == "none" or task not in explainable:
            return None
        return Explaining(every=self.of == "scores", top_n=self.top_n, names=self.names)


def _fits_the_task(decision: DecisionSettings, info: ValidationInfo) -> DecisionSettings:
    model = info.data.get("model")
    problem = None if model is None else decision.problem(model.task)
    if problem is not None:
        raise ValueError(f"rule {decision.rule}: {problem}")
    return decision


FittingDecisionSettings = Annotated[DecisionSettings, AfterValidator(_fits_the_task)]
