"""Drift without labels: whether the scores, or the events' features, are not what they were.

Labels come days late, and what this sees does not need them. It is weaker evidence: the data may
move and the model be as right as ever, and a relation may change behind data that look the same.

A reference of rows is held; each block of rows after it is compared with it, feature by feature, by
the tests of `models.movement`, whose chance is known. So the false-alarm budget needs no table: a
test may fail as often as blocks and features allow. Of features the reference stands, so that what
creeps is found; of scores it follows, since a model that learns moves its own scores. Rows that
depend on each other (seasons, one customer's burst) are no chance, and are told as the drift that
they are. Segments have references and blocks of their own, and share the budget with the whole
as in `models.watches`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.drift import DriftSettings
from models.movement import compare_all
from models.types import (
    Direction,
    DriftKind,
    DriftLevel,
    DriftSignal,
    Features,
    Movement,
    Score,
)
from models.watches import SharedWatch

THIN = 4
"""Each so manieth row is looked at."""
_REFERENCE_ROWS, _BLOCK_ROWS = 500, 125
_N_TOLD = 5


class _Pair:
    """The features and the scores of the same rows."""

    def __init__(self, settings: DriftSettings) -> None:
        self._data = _Blocks(DriftKind.DATA, settings)
        self._scores = _Blocks(DriftKind.PREDICTION, settings)

    def observe_many(
        self,
        rows: Sequence[Features],
        said: Sequence[Features],
        positions: Sequence[int],
        event_times: Sequence[float],
    ) -> list[DriftSignal]:
        signals = []
        columns = zip(rows, said, positions, event_times, strict=True)
        for row, score, position, event_time in columns:
            for blocks, values in ((self._data, row), (self._scores, score)):
                if signal := blocks.take(values, position, event_time):
                    signals.append(signal)
        return signals

    def retune(self, settings: DriftSettings) -> None:
        self._data.settings = self._scores.settings = settings


class _Blocks:
    def __init__(self, kind: DriftKind, settings: DriftSettings) -> None:
        self._kind = kind
        self.settings = settings
        self._reference: list[Features] = []
        self._block: list[Features] = []
        self._since = 0
        self._has_warned = False

    def take(self, row: Features, position: int, event_time: float) -> DriftSignal | None:
        if len(self._reference) < _REFERENCE_ROWS:
            self._reference.append(row)
            return None
        if not self._block:
            self._since = position
        self._block.append(row)
        if len(self._block) < _BLOCK_ROWS:
            return None
        signal = self._judge(position, event_time)
        if signal is not None and signal.level is DriftLevel.CONFIRMED:
            # What it moved to is where the next movement starts.
            self._reference = self._block
        elif self._kind is DriftKind.PREDICTION:
            self._reference = [*self._reference, *self._block][-_REFERENCE_ROWS:]
        self._block = []
        return signal

    def _judge(self, position: int, event_time: float) -> DriftSignal | None:
        compared = compare_all(self._reference, self._block)
        if not compared:
            return None
        n_events = _BLOCK_ROWS * THIN / len(compared)
        surest = min(compared, key=lambda moved: moved.chance)
        if surest.chance < n_events / self.settings.confirmed_every:
            level, self._has_warned = DriftLevel.CONFIRMED, False
        elif surest.chance < n_events / self.settings.warning_every:
            # Once, however long it stays so.
            if self._has_warned:
                return None
            level, self._has_warned = DriftLevel.WARNING, True
        else:
            self._has_warned = False
            return None
        told = [m.movement for m in compared if m.chance < n_events / self.settings.warning_every]
        told.sort(key=lambda movement: (-movement.distance, movement.feature))
        return self._signal(level, told, position, event_time)

    def _signal(
        self, level: DriftLevel, told: Sequence[Movement], position: int, event_time: float
    ) -> DriftSignal:
        return DriftSignal(
            kind=self._kind,
            what=told[0].feature,
            level=level,
            direction=Direction.MOVED,
            before=told[0].before,
            after=told[0].after,
            position=position,
            event_time=event_time,
            since=self._since,
            moved=tuple(told[:_N_TOLD]),
        )


class DataWatch(SharedWatch[_Pair]):
    """Tell when scores or features have moved from where they were.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(7)
    >>> watch = DataWatch()
    >>> for i in range(6_000):
    ...     row = {"amount": rng.gauss(2.0 if i >= 4_000 else 0.0, 1.0), "hour": rng.randrange(24)}
    ...     for signal in watch.observe_many([row], [rng.random()], [i], [0.0]):
    ...         if signal.level == "confirmed":
    ...             print(i, signal.kind, signal.what, "since", signal.since)
    4499 data amount since 4003
    """

    def __init__(self, settings: DriftSettings | None = None) -> None:
        self._n_before_thinning = 0
        super().__init__(settings or DriftSettings(), each=THIN)

    def observe_many(
        self,
        rows: Sequence[Features],
        scores: Sequence[Score],
        positions: Sequence[int],
        event_times: Sequence[float],
    ) -> list[DriftSignal]:
        """Absorb rows with their scores, in order; the batching makes no difference."""
        looked_at = slice((-self._n_before_thinning - 1) % THIN, None, THIN)
        self._n_before_thinning += len(rows)
        rows = rows[looked_at]
        said: list[Features] = [
            {**score} if isinstance(score, Mapping) else {"score": score}
            for score in scores[looked_at]
        ]
        return self._share(rows, rows, said, positions[looked_at], event_times[looked_at])

    def _new(self, *, is_segment: bool) -> _Pair:
        return _Pair(self._budgeting.settings)
