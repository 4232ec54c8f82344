"""The claims of the store's double: which label of an event is its truth, and what was answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from models.stores.base import NewClaim, Verdict

_REVISIONS = (Verdict.JOINED, Verdict.OWN_FEATURES)


@dataclass(slots=True)
class Claim:
    """What has been claimed of one event.

    The truth is None while only silence has spoken. Entries are verdicts in flight, by the lane and
    offset that got them.
    """

    revision: int
    truth: str | None
    entries: dict[tuple[str, int], tuple[Verdict, int]] = field(default_factory=dict)

    def revise(
        self,
        mine: tuple[str, int],
        new: NewClaim,
        how: Verdict,
        before: set[int],
        corrections: bool,
        settled: Callable[[str, int], bool],
    ) -> tuple[Verdict, int]:
        """Give the verdict on one more label, and its revision; the same again if asked again.

        `before` are offsets of the same lane that are published together with it, and before it.
        """
        if mine in self.entries:
            return self.entries[mine]
        kept = {entry: v for entry, v in self.entries.items() if not settled(*entry)}
        if self.truth == new.truth:
            verdict = (Verdict.DUPLICATE, 0)
        elif self.truth is not None and not corrections:
            verdict = (Verdict.REFUSED, 0)
        elif any(
            made in _REVISIONS and not (whose == mine[0] and offset in before)
            for (whose, offset), (made, _) in kept.items()
        ):
            return Verdict.BLOCKED, 0
        else:
            self.revision += 1
            self.truth = new.truth
            verdict = (how, self.revision)
        self.entries = {**kept, mine: verdict}
        return verdict
