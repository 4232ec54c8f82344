"""How challengers do, as anybody may read it: an entry in the learn lane's state."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from models.gate import Evidence
from models.lineage import Segment

STANDINGS = "challengers"
"""Key of the entry."""
COMPARED, CATCHING_UP, FAILED = "compared", "catching up", "failed"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger as it was last saved; enough to begin it again.

    `n_bytes` and `fingerprint` are those of its state, 0 and empty before that was ever saved.
    `share` of the entities and `shadow` of the events are what it was given to score; it does once
    it `is_ready`, and then for as long as it exists.
    """

    name: str
    segment: Segment
    who: str
    pipeline: str
    state: str
    failure: str = ""
    position: int
    champion: str
    champion_position: int
    since: int
    loss: str
    evidence: Evidence
    advantages: dict[str, float]
    n_bytes: int
    fingerprint: str
    cost_ratio: float | None
    objections: list[str]
    proposed: bool
    promotion: str
    time: float
    share: float = 0.0
    shadow: float = 0.0
    is_ready: bool = False


decode_standings: Callable[[bytes], list[Standing]] = msgspec.json.Decoder(list[Standing]).decode
