"""The section `[challengers]`: how many, of what, how fast, and who decides on a promotion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.gate import MARGIN_MAX, GateRules
from stream.section import Section


class ChallengerSettings(Section):
    """Learners beside the champion, and what promotes one of them."""

    max: int = Field(4, ge=0, le=100, description="Challengers at a time.")
    pipelines: str = Field(
        "",
        description="Pipelines of your own (`module:function`, more after a space) that a command "
        "may ask for, beside model.pipeline and those with a name.",
    )
    share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of a worker's time that challengers may take: the champion comes first.",
    )
    serve_after_n: int = Field(
        1000,
        ge=1,
        description="A challenger scores live traffic once it has caught up with the champion and "
        "has learned so many examples.",
    )
    traffic_max: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Guard rail: the largest share of entities that all challengers together may "
        "decide.",
    )
    promotion: Literal["automatic", "propose", "manual"] = Field(
        "propose",
        description="What happens when the gate opens: the challenger is promoted, or the audit "
        "proposes it, or nothing.",
    )
    alpha: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Chance that a challenger that is no better ever passes the gate.",
    )
    loss: Literal["auto", "brier", "log", "zero-one", "share"] = Field(
        "auto",
        description="What is compared: auto is brier for classes, zero-one for anomalies, and for "
        "regression the share of the two absolute errors.",
    )
    margin: float = Field(
        0.0, ge=0, le=MARGIN_MAX, description="By how much a challenger's mean loss must be lower."
    )
    bytes_max: int = Field(
        64 << 20, ge=1, description="Guard rail: the largest state that may be promoted."
    )
    cost_ratio_max: float = Field(
        10.0, gt=0, description="Guard rail: its time for an example over the champion's."
    )
    segment: str | None = Field(
        None, description="Feature by whose values the comparison is kept as well."
    )
    segment_floor: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Guard rail: in no segment may its mean loss be higher by more than this.",
    )
    segment_n_min: int = Field(
        200, ge=1, description="Examples from which on a segment is looked at."
    )

    def own_pipelines(self) -> list[str]:
        """Give the allowed pipelines that are no names."""
        return self.pipelines.split()

    def rules(self) -> GateRules:
        """Give what the gate goes by."""
        return GateRules(
            alpha=self.alpha,
            margin=self.margin,
            bytes_max=self.bytes_max,
            cost_ratio_max=self.cost_ratio_max,
            segment_floor=self.segment_floor if self.segment is not None else None,
            segment_n_min=self.segment_n_min,
        )
