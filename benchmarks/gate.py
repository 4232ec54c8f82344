"""The promotion gate, simulated: how often it is wrong, and how soon it is right.

    python -m benchmarks.gate [--pairs 1000] [--examples 50000] [--json FILE]

A/A: two models of which neither is better. After every single example somebody looks, and promotes
as soon as the gate lets them. At most 5 % of the pairs may ever be promoted (alpha 0.05); the table
has beside it how many a z-test would promote that is looked at as often. The losses are those that
streams give: both models err on the same hard examples, hardness and disagreement drift, jump and
cluster, and in `seasons` the challenger is worse and then better, never ahead so far. Power: the
challenger errs on 2 % fewer of the examples (20 % against 22 %), for several shares of examples
on which only one of the two errs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.gate import Capital

Floats = NDArray[np.float64]
Stream = Callable[[np.random.Generator, int, int], Floats]
"""(random, examples, pairs) to differences champion - challenger, the first axis being time."""

ALPHA = 0.05
Z = 1.645
Z_AFTER = 100
PAIRS_AT_ONCE = 100
GAP = 0.02
ERROR = 0.22


def wander(rng: np.random.Generator, n: int, pairs: int) -> Floats:
    """Logits that drift slowly (AR 1 around 0) and jump now and then."""
    knots = n // 50 + 2
    steps = 0.1 * rng.standard_normal((knots, pairs))
    steps += rng.standard_normal((knots, pairs)) * 1.5 * (rng.random((knots, pairs)) < 0.01)
    path = np.zeros((knots, pairs))
    for i in range(1, knots):
        path[i] = 0.98 * path[i - 1] + steps[i]
    return np.repeat(path, 50, axis=0)[:n]


def independent(rng: np.random.Generator, n: int, pairs: int) -> Floats:
    """Zero-one losses; a tenth of the examples decide, by a coin."""
    return np.where(rng.random((n, pairs)) < 0.1, rng.choice([-1.0, 1.0], (n, pairs)), 0.0)


def drifting(rng: np.random.Generator, n: int, pairs: int) -> Floats:
    """Zero-one losses of two models that err on the same hard examples; hardness drifts, jumps.

    Given the past, each errs with the same probability: who is wrong alone is a coin's affair. How
    often they disagree depends on the hardness and on whether they just did.
    """
    hardness = 1.0 / (1.0 + np.exp(-(wander(rng, n, pairs) - 1.3)))
    draws = rng.random((n, pairs))
    sides = rng.choice([-1.0, 1.0], (n, pairs))
    found = np.zeros((n, pairs))
    excited = np.zeros(pairs)
    for t in range(n):
        chance = np.minimum(0.9, hardness[t] * (1.0 - hardness[t]) + 0.3 * excited)
        disagree = draws[t] < chance
        found[t] = np.where(disagree, sides[t], 0.0)
        excited = 0.9 * excited + 0.1 * disagree
    return found


def brier(rng: np.random.Generator, n: int, pairs: int) -> Floats:
    """Brier losses: small and heavy-tailed, louder for as long as the stream is in a bad state."""
    loudness = 0.05 * np.exp(wander(rng, n, pairs))
    return np.clip(loudness * rng.standard_t(3.0, (n, pairs)), -1.0, 1.0)


def seasons(rng: np.random.Generator, n: int, pairs: int) -> Floats:
    """The challenger is worse for a season, then as much better; on average never ahead."""
    length = 500
    season = (np.arange(n) // length) % 2
    lean = np.where(season == 0, -0.3, 0.3)[:, None]
    sides = np.where(rng.random((n, pairs)) < (1.0 + lean) / 2.0, 1.0, -1.0)
    return np.where(rng.random((n, pairs)) < 0.1, sides, 0.0)


def ahead(disagreement: float) -> Stream:
    """The challenger errs on 2 % fewer examples, of which that share has only one who errs."""
    share_won = (1.0 + GAP / disagreement) / 2.0

    def stream(rng: np.random.Generator, n: int, pairs: int) -> Floats:
        sides = np.where(rng.random((n, pairs)) < share_won, 1.0, -1.0)
        return np.where(rng.random((n, pairs)) < disagreement, sides, 0.0)

    return stream


NULLS: dict[str, Stream] = {
    "independent, 0-1": independent,
    "drifting, 0-1": drifting,
    "drifting, Brier": brier,
    "seasons, 0-1": seasons,
}


class Promoted(NamedTuple):
    """When each pair was first promoted (-1: never), by the gate and by a z-test."""

    gate: NDArray[np.int64]
    z_test: NDArray[np.int64]


def simulate(stream: Stream, *, n: int, pairs: int, seed: int, alpha: float = ALPHA) -> Promoted:
    """Peek at every example of every pair."""
    rng = np.random.default_rng(seed)
    gate, z_test = [], []
    for start in range(0, pairs, PAIRS_AT_ONCE):
        differences = stream(rng, n, min(PAIRS_AT_ONCE, pairs - start))
        wealth = Capital(differences.shape[1:]).bet(differences, 0.0)
        gate.append(_first(wealth >= 1.0 / alpha))
        count = np.arange(1, n + 1)[:, None]
        total = np.cumsum(differences, axis=0)
        spread = np.sqrt(np.maximum(np.cumsum(differences**2, axis=0), 1e-12))
        z_test.append(_first((total > Z * spread) & (count > Z_AFTER)))
    return Promoted(np.concatenate(gate), np.concatenate(z_test))


def _first(hits: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(hits.any(axis=0), np.argmax(hits, axis=0) + 1, -1).astype(np.int64)


def main() -> int:
    parser = argparse.ArgumentParser(description="Simulate the promotion gate.")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    n, pairs, began = options.examples, options.pairs, time.monotonic()
    figures: dict[str, dict[str, float]] = {}

    table = Table(title=f"A/A: {pairs:,} pairs of {n:,} examples, looked at after each one",
                  title_justify="left")  # fmt: skip
    for title in ("losses", "promoted by the gate", "by a z-test"):
        table.add_column(title, justify="left" if title == "losses" else "right")
    worst = 0.0
    for seed, (name, stream) in enumerate(NULLS.items()):
        found = simulate(stream, n=n, pairs=pairs, seed=seed)
        wrong, naive = float((found.gate > 0).mean()), float((found.z_test > 0).mean())
        worst = max(worst, wrong)
        table.add_row(name, f"{wrong:.1%}", f"{naive:.1%}")
        figures[name] = {"gate": wrong, "z_test": naive}
    console = Console()
    console.print(table)

    table = Table(title=f"Power: {ERROR:.0%} errors against {ERROR - GAP:.0%}",
                  title_justify="left")  # fmt: skip
    for title in ("only one errs on", "promoted", "after: median", "90 % of them"):
        table.add_column(title, justify="right")
    for seed, disagreement in enumerate((0.04, 0.1, 0.2, 0.3)):
        found = simulate(ahead(disagreement), n=n, pairs=pairs, seed=100 + seed)
        hits = found.gate[found.gate > 0]
        power, half, most = float(len(hits) / pairs), np.median(hits), np.quantile(hits, 0.9)
        table.add_row(f"{disagreement:.0%}", f"{power:.1%}", f"{half:,.0f}", f"{most:,.0f}")
        figures[f"ahead {disagreement}"] = {"power": power, "median": half, "most": most}
    console.print(table)
    console.print(f"{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_bytes(msgspec.json.encode(figures, enc_hook=float))
    return 0 if worst <= ALPHA else 1


if __name__ == "__main__":
    sys.exit(main())
