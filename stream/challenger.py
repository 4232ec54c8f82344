"""One challenger: its duel with the champion, and what is known of it beside."""

from __future__ import annotations

from models.duel import Duel
from models.lineage import Lineage, Segment


class Challenger:
    """A duel with its name, and what is known of it beside."""

    def __init__(self, name: str, segment: Segment, who: str, duel: Duel) -> None:
        self.name, self.segment, self.who, self.duel = name, segment, who, duel
        self.share = self.shadow = 0.0
        self.is_ready = False
        self.failure = ""
        self.proposed = False
        self.n_bytes = 0
        self.fingerprint = ""
        self.saved_at: int | None = None
        self.saved_version: str | None = None
        self.followed: Lineage | None = None

    def fail(self, why: str) -> None:
        """Stop for good; the others go on."""
        self.failure, self.saved_at = why, None

    @property
    def scores(self) -> bool:
        """Whether it scores live traffic, as far as it goes."""
        return self.is_ready and not self.failure and self.share + self.shadow > 0.0

    @property
    def cost_ratio(self) -> float | None:
        """How its time for an example compares with the champion's; None before it is known."""
        duel = self.duel
        return duel.challenger_s / duel.reference_s if duel.reference_s > 0.0 else None
