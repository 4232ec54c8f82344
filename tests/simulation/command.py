"""`scripts/sim`: thousands of seeds of the simulation, and a crash at every single step."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from tests.simulation import crashes
from tests.simulation.mix import SOMETIMES, run_seed

T = TypeVar("T")
SEEDS_A_TASK = 10
PIPELINES = ("logistic", "hoeffding-tree", "adaptive-random-forest")


class Result(NamedTuple):
    """What runs found: how many there were, what they reached, what was violated, by whom."""

    n_runs: int
    reached: Counter[str]
    violations: list[tuple[str, str]]


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; exit status 1 if anything was violated or never reached."""
    options = _parse(arguments)
    if options.crash_everywhere:
        return _crash_everywhere(options)
    return _seeds(options)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/sim",
        description="Run lanes, handlers and learner in a seeded world of faults: crashes, "
        "rebalances, zombies, outages, lost answers, duplicates that come late.",
        epilog="A seed that fails belongs into tests/simulation/seeds.txt, with what was wrong: "
        "the tests run it first, for good.",
    )
    say = parser.add_argument
    say("--seeds", type=_seed_range, default=range(5000), metavar="A..B",
        help="from A up to, not including, B; or one seed (default: 0..5000)")  # fmt: skip
    say("--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
        help="processes (default: as many as there are cores)")  # fmt: skip
    say("--crash-everywhere", action="store_true",
        help="instead: crash at every step of one run, for three pipelines")  # fmt: skip
    say("--pipeline", choices=PIPELINES, action="append",
        help="with --crash-everywhere: only this one")  # fmt: skip
    return parser.parse_args(arguments)


def _seed_range(text: str) -> range:
    first, dots, end = text.partition("..")
    return range(int(first), int(end) if dots else int(first) + 1)


def _seeds(options: argparse.Namespace) -> int:
    seeds: range = options.seeds
    tasks = _portions(seeds)
    result = _run_all(_run_seeds, tasks, options.jobs, n_all=len(seeds))
    for seed, error in result.violations:
        print(f"\nseed {seed}: {error}\nreplay it: scripts/sim --seeds {seed}")
    missed = [what for what in SOMETIMES if not result.reached[what]]
    for what in SOMETIMES:
        print(f"{result.reached[what]:>10,}  {what}")
    print(f"{result.n_runs:,} seeds, {len(result.violations)} violations")
    if missed and len(seeds) > 1:
        print(f"never reached: {', '.join(missed)}")
    return 1 if result.violations or (missed and len(seeds) > 1) else 0


def _crash_everywhere(options: argparse.Namespace) -> int:
    n_violations = 0
    for pipeline in options.pipeline or PIPELINES:
        undisturbed, n_steps = crashes.run(pipeline, crash_at=None)
        work = partial(_crash_at, pipeline, undisturbed)
        tasks = _portions(range(n_steps))
        result = _run_all(work, tasks, options.jobs, n_all=n_steps)
        for step, error in result.violations:
            print(f"\n{pipeline}, crash at step {step}: {error}")
        n_violations += len(result.violations)
        print(f"{pipeline}: {result.n_runs:,} crash points, {len(result.violations)} violations")
    return 1 if n_violations else 0


def _portions(runs: range) -> list[tuple[int, ...]]:
    starts = range(runs.start, runs.stop, SEEDS_A_TASK)
    return [tuple(range(start, min(start + SEEDS_A_TASK, runs.stop))) for start in starts]


def _run_all(
    work: Callable[[tuple[int, ...]], Result], tasks: list[tuple[int, ...]], jobs: int, n_all: int
) -> Result:
    """Spread tasks over processes, with a line of progress; the numbers of tasks are runs."""
    reached: Counter[str] = Counter()
    violations: list[tuple[str, str]] = []
    n_runs, began = 0, time.monotonic()
    for result in _spread(work, tasks, jobs):
        n_runs += result.n_runs
        reached.update(result.reached)
        violations += result.violations
        seconds = time.monotonic() - began
        told = f"\r{n_runs:,} of {n_all:,}, {len(violations)} violations, {seconds:.0f} s"
        print(told, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Result(n_runs, reached, violations)


def _spread(work: Callable[[Any], T], tasks: list[Any], jobs: int) -> Iterable[T]:
    if jobs == 1 or len(tasks) == 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(jobs, initializer=_be_quiet) as pool:
        yield from pool.map(work, tasks)


def _be_quiet() -> None:
    # Outages and refusals are told by the thousand.
    logging.disable(logging.CRITICAL)


def _run_seeds(seeds: tuple[int, ...]) -> Result:
    _be_quiet()
    reached: Counter[str] = Counter()
    violations = []
    for seed in seeds:
        try:
            reached.update(run_seed(seed))
        except Exception as error:
            violations.append((str(seed), _told(error)))
    return Result(len(seeds), reached, violations)


def _crash_at(pipeline: str, undisturbed: dict[str, Any], steps: tuple[int, ...]) -> Result:
    _be_quiet()
    violations = []
    for step in steps:
        try:
            recovered, _ = crashes.run(pipeline, step)
            different = [what for what in undisturbed if recovered[what] != undisturbed[what]]
            if different:
                violations.append((str(step), f"other {', '.join(different)}"))
        except Exception as error:
            violations.append((str(step), _told(error)))
    return Result(len(steps), Counter(), violations)


def _told(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:500]} ({frame.name}, line {frame.lineno})"
