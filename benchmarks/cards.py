"""Payments with two entities, for what their pasts cost: each card's, and each shop's."""

from __future__ import annotations

from random import Random

from benchmarks.records import Records

N_CARDS, N_SHOPS = 10_000, 1_000
FRAUD_SHARE = 0.02
_N_ROWS = 1 << 16


class Cards(Records):
    """Payments at random, the same ones in every process, repeated with fresh ids."""

    def __init__(self) -> None:
        rng = Random(1)
        self._tails = [
            b'"card":"c%d","shop":%d,"amount":%.2f}'
            % (rng.randrange(N_CARDS), rng.randrange(N_SHOPS), rng.lognormvariate(3.5, 1.0))
            for _ in range(_N_ROWS)
        ]
        self._truths = [rng.random() < FRAUD_SHARE for _ in range(_N_ROWS)]

    def event(self, i: int) -> tuple[bytes, bytes]:
        """Key and value of the i-th event."""
        return b"%d" % i, b'{"id":"%d",' % i + self._tails[i % _N_ROWS]

    def label(self, i: int) -> tuple[bytes, bytes]:
        """Key and value of the i-th event's label."""
        return b"%d" % i, b'{"id":"%d","fraud":%d}' % (i, self._truths[i % _N_ROWS])
