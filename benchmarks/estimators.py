"""Compiled estimators against River's own, in one run: speed, quality, dumps, memory, tails.

Run: DRIFTLINE_DATA=... python -m benchmarks.estimators [--models logistic] [--streams agrawal]
[--events 10000] [--memory] [--moa] [--png estimators.png]

Every figure of a line is test-then-train: predict, then learn. Speeds are CPU time, the best of a
few rounds; all take turns, so that a busy machine slows all. "batches" are arrays where the stream
is all numbers, and dicts where it is not; "arrays" of such a stream hold its categories as numbers,
which is how MOA has them. A cold call comes after a millisecond of other work, as in a worker that
does other things between two events. `--moa` adds MOA on the same rows; Vowpal Wabbit is added
beside the logistic regression where it is installed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import multiprocessing
import pickle
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks import peer_moa, peer_vw
from benchmarks.estimator_models import MODELS, Contender
from benchmarks.estimator_streams import STREAMS, Row, Stream, table_of

N_ROUNDS = 3
# How often the others take a turn where River takes one.
N_TURNS = 4
BATCHES = (64, 256, 1024)
N_TAIL, N_COLD = 5_000, 500
RSS_AT = (10_000, 100_000)


@dataclass
class Figures:
    """What one contender showed on one stream."""

    model: str
    stream: str
    n: int
    speeds: dict[str, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def main() -> None:
    options = _options()
    print(f"{platform.machine()}, Python {platform.python_version()}, CPU time, best of {N_ROUNDS}")
    found = []
    for contender in MODELS:
        for stream in STREAMS:
            is_wanted = contender.name in options.models and stream.name in options.streams
            if is_wanted and contender.is_regression == stream.is_regression:
                figures = measure(contender, stream, options)
                print("\n".join(["", *figures.lines]), flush=True)
                found.append(figures)
    if options.png:
        draw(found, options.png)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    models, streams = [model.name for model in MODELS], [stream.name for stream in STREAMS]
    parser.add_argument("--models", nargs="+", choices=models, default=models)
    parser.add_argument("--streams", nargs="+", choices=streams, default=streams)
    parser.add_argument("--events", type=int, default=10_000, help="of each stream")
    parser.add_argument("--memory", action="store_true", help="also RSS at 10k and 100k events")
    parser.add_argument("--moa", action="store_true", help="also MOA; needs a JDK and Maven")
    parser.add_argument("--png", type=Path, help="draw the speeds into this file (matplotlib)")
    return parser.parse_args()


def measure(contender: Contender, stream: Stream, options: argparse.Namespace) -> Figures:
    """Take all figures of one contender on one stream."""
    n = int(options.events * contender.share_of_events)
    rows = list(stream.take(n, with_text=contender.takes_text))
    figures = Figures(contender.name, stream.name, n)
    with ExitStack() as stack:
        moa = None
        if options.moa and contender.name in peer_moa.LEARNERS and peer_moa.is_available():
            moa = stack.enter_context(peer_moa.opened(contender.name, rows))
        turns = _take_turns(contender, rows, moa)
        of_moa = None if moa is None else moa.figures()
    speeds = figures.speeds = {name: n / took for name, took in turns.best.items()}
    truths = np.array([y for _, y in rows])
    quality = _closeness if contender.is_regression else _quality
    figures.lines = [
        f"{contender.name} on {stream.name}, {n:,} events",
        *(
            f"  {name:<18}{speed:>12,.0f} events/s {speed / speeds['River']:>8.1f} x"
            for name, speed in speeds.items()
        ),
        "  " + quality(truths, np.array(turns.said_by_river), np.array(turns.said)),
        *_dumps(turns.theirs, turns.mine),
        *_tails("River", contender.river, rows),
        *_tails("ours", contender.ours, rows),
    ]
    if options.memory:
        figures.lines += _memory(contender, stream)
    if of_moa is not None:
        figures.lines += _moa(of_moa, speeds)
    elif options.moa and contender.name in peer_moa.LEARNERS:
        figures.lines.append("  MOA is left out: there is no JDK, or no Maven")
    if contender.name == peer_vw.MODEL and peer_vw.is_available():
        figures.lines += _vw(rows, speeds)
    return figures


def _vw(rows: list[Any], speeds: dict[str, float]) -> Iterator[str]:
    found = peer_vw.measure(rows)
    yield (
        f"  Vowpal Wabbit     {found.speed:>12,.0f} events/s; accuracy {found.accuracy:.4f}; "
        f"ours is {speeds['one by one'] / found.speed:.1f} x one by one, "
        f"{speeds['batches of 256'] / found.speed:.1f} x in 256s"
    )


def _moa(found: peer_moa.MoaFigures, speeds: dict[str, float]) -> Iterator[str]:
    yield (
        f"  MOA               {found.warm:>12,.0f} events/s warm, {found.cold:,.0f} at first; "
        f"accuracy {found.accuracy:.4f}; ours is "
        + ", ".join(
            f"{speeds[way] / found.warm:.1f} x {told}"
            for way, told in (
                ("one by one", "one by one"),
                ("batches of 256", "in 256s"),
                ("arrays of 256", "in arrays of 256"),
            )
            if way in speeds
        )
    )


@dataclass
class Turns:
    """CPU seconds of the best turn of each way, and what River and ours had said and become."""

    best: dict[str, float] = field(default_factory=dict)
    said_by_river: list[float] = field(default_factory=list)
    said: list[float] = field(default_factory=list)
    theirs: Any = None
    mine: Any = None

    def note(self, way: str, took: float) -> None:
        self.best[way] = min(took, self.best.get(way, took))


def _take_turns(contender: Contender, rows: list[Row], moa: peer_moa.Moa | None) -> Turns:
    turns = Turns()
    for _ in range(N_ROUNDS):
        took, turns.said_by_river, turns.theirs = _one_by_one(contender, contender.river, rows)
        turns.note("River", took)
        for _ in range(N_TURNS):
            took, turns.said, turns.mine = _one_by_one(contender, contender.ours, rows)
            turns.note("one by one", took)
            for size in BATCHES:
                turns.note(f"batches of {size}", _in_batches(contender.ours, rows, size))
            if _has_text(rows) and hasattr(turns.mine, "nominal_attributes"):
                turns.note("arrays of 256", _in_coded_arrays(contender.ours, rows, 256))
            if moa is not None:
                moa.take_turn()
    return turns


def _one_by_one(
    contender: Contender, factory: Callable[[], Any], rows: list[Any]
) -> tuple[float, list[float], Any]:
    model = factory()
    said = []
    gc.collect()
    start = process_time()
    if contender.is_regression:
        for x, y in rows:
            said.append(model.predict_one(x))
            model.learn_one(x, y)
    else:
        for x, y in rows:
            said.append(model.predict_proba_one(x).get(True, 0.0))
            model.learn_one(x, y)
    return process_time() - start, said, model


def _in_batches(factory: Callable[[], Any], rows: list[Any], size: int) -> float:
    model = factory()
    xs, ys = [x for x, _ in rows], [y for _, y in rows]
    if not _has_text(rows) and hasattr(model, "test_then_train_many"):
        return _in_arrays(model, rows, size)
    start = process_time()
    for at in range(0, len(rows), size):
        model.test_then_train_dicts(xs[at : at + size], ys[at : at + size])
    return process_time() - start


def _in_coded_arrays(factory: Callable[[], Any], rows: list[Any], size: int) -> float:
    x, _ = rows[0]
    nominals = [name for name, value in x.items() if isinstance(value, str)]
    return _in_arrays(factory().clone({"nominal_attributes": nominals}), rows, size)


def _in_arrays(model: Any, rows: list[Any], size: int) -> float:
    names = tuple(rows[0][0])
    array, _ = table_of(rows)
    y = np.array([y for _, y in rows])
    start = process_time()
    for at in range(0, len(rows), size):
        model.test_then_train_many(array[at : at + size], y[at : at + size], names=names)
    return process_time() - start


def _has_text(rows: list[Any]) -> bool:
    x, _ = rows[0]
    return any(isinstance(value, str) for value in x.values())


def _quality(truths: Any, said_by_river: Any, said: Any) -> str:
    accuracy = float(np.mean((said >= 0.5) == truths))
    difference = float(np.max(np.abs(said - said_by_river)))
    return f"accuracy {accuracy:.4f}, AUC {_auc(truths, said):.4f}, off River by {difference:.1g}"


def _closeness(truths: Any, said_by_river: Any, said: Any) -> str:
    error = float(np.mean(np.abs(said - truths)))
    difference = float(np.max(np.abs(said - said_by_river)))
    return f"mean absolute error {error:.4g}, off River by {difference:.1g}"


def _auc(truths: Any, said: Any) -> float:
    _, places, counts = np.unique(said, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[places]
    n_true = int(truths.sum())
    n_false = len(truths) - n_true
    above = float(ranks[truths].sum()) - n_true * (n_true + 1) / 2.0
    return above / (n_true * n_false) if n_true and n_false else float("nan")


def _dumps(theirs: Any, mine: Any) -> Iterator[str]:
    def timed(action: Callable[[], Any]) -> tuple[float, Any]:
        took, result = min((_timed(action) for _ in range(N_ROUNDS)), key=lambda timing: timing[0])
        return took, result

    their_time, their_bytes = timed(lambda: pickle.dumps(theirs))
    my_time, my_bytes = timed(mine.dump)
    for name, took, dump in (("River", their_time, their_bytes), ("ours", my_time, my_bytes)):
        yield f"  dump, {name:<12}{len(dump):>12,} bytes   {took * 1e3:>9.3f} ms"


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    start = perf_counter()
    result = action()
    return perf_counter() - start, result


def _tails(name: str, factory: Callable[[], Any], rows: list[Any]) -> Iterator[str]:
    model = factory()
    warm = [_timed(lambda x=x, y=y: model.learn_one(x, y))[0] for x, y in rows[:N_TAIL]]
    cold = []
    for x, y in itertools.islice(itertools.cycle(rows), N_COLD):
        _other_work()
        cold.append(_timed(lambda x=x, y=y: model.learn_one(x, y))[0])
    for kind, times in (("warm", warm), ("cold", cold)):
        p50, p99, most = np.percentile(times, [50, 99, 100]) * 1e6
        yield f"  learn {kind}, {name:<8} p50 {p50:>9.1f}   p99 {p99:>9.1f}   max {most:>9.1f} us"


def _other_work() -> None:
    # A millisecond that touches other memory and other code.
    until = perf_counter() + 1e-3
    while perf_counter() < until:
        sorted({str(i): [i] for i in range(300)}.items())


def _memory(contender: Contender, stream: Stream) -> Iterator[str]:
    # In processes of their own: what one model leaves behind is not the other's.
    spawn = multiprocessing.get_context("spawn")
    for side in ("river", "ours"):
        most = RSS_AT[:1] if side == "river" and contender.share_of_events < 1.0 else RSS_AT
        with spawn.Pool(1) as pool:
            grown = pool.apply(_rss_growth, (contender.name, stream.name, side, most))
        text = ", ".join(f"{kb:,} kB at {n:,}" for n, kb in zip(most, grown, strict=True))
        yield f"  memory grown by, {side}: {text}"


def _rss_growth(model_name: str, stream_name: str, side: str, at: tuple[int, ...]) -> list[int]:
    contender = next(model for model in MODELS if model.name == model_name)
    stream = next(stream for stream in STREAMS if stream.name == stream_name)
    model = getattr(contender, side)()
    rows = stream.take(max(at), with_text=contender.takes_text)
    for x, y in itertools.islice(rows, 100):
        model.learn_one(x, y)
    before, grown = _rss_kb(), []
    for n, (x, y) in enumerate(rows, start=101):
        model.predict_one(x) if contender.is_regression else model.predict_proba_one(x)
        model.learn_one(x, y)
        if n in at:
            grown.append(_rss_kb() - before)
    return grown + [0] * (len(at) - len(grown))


def _rss_kb() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def draw(found: list[Figures], path: Path) -> None:
    """Draw how many times River's speed each way of calling gives."""
    try:
        from matplotlib import pyplot
    except ImportError:
        print(f"{path} is not drawn: matplotlib is not installed")
        return
    ways = [name for name in found[0].speeds if name != "River"]
    figure, axes = pyplot.subplots(figsize=(2 + 1.6 * len(found), 5))
    for i, way in enumerate(ways):
        ratios = [figures.speeds[way] / figures.speeds["River"] for figures in found]
        axes.bar(np.arange(len(found)) + (i - 1.5) * 0.2, ratios, width=0.2, label=way)
    axes.set_xticks(range(len(found)), [f"{f.model}\n{f.stream}" for f in found])
    axes.set_yscale("log")
    axes.set_ylabel("times River's speed, predict and learn")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
