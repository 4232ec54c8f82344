"""The worker with a sampler inside: which Python functions its CPU time goes to.

    python -m benchmarks.sampled_worker worker -c elec2      then a line on stdin: the file to write

Why a signal and not cProfile: that costs more than the functions it measures here. A timer of CPU
time interrupts the main thread each millisecond and notes its stack, for some percent of overhead.
C code shows as the Python function that called it. Garbage collection is timed by its own hook.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Any

EVERY_S = 0.001
DEPTH_MAX = 60

_stacks: Counter[tuple[Any, ...]] = Counter()
_gc_s = 0.0
_gc_began = 0.0


def _sample(number: int, frame: FrameType | None) -> None:
    stack = []
    while frame is not None and len(stack) < DEPTH_MAX:
        stack.append(frame.f_code)
        frame = frame.f_back
    _stacks[tuple(stack)] += 1


def _time_gc(phase: str, info: dict[str, int]) -> None:
    global _gc_s, _gc_began
    if phase == "start":
        _gc_began = time.perf_counter()
    else:
        _gc_s += time.perf_counter() - _gc_began


def _serve() -> None:
    """Forget everything at "reset"; else write it to the file named."""
    global _gc_s
    for line in sys.stdin:
        if line.strip() == "reset":
            _stacks.clear()
            _gc_s = 0.0
            continue
        stacks = [
            [n, [[code.co_filename, code.co_qualname] for code in stack]]
            for stack, n in list(_stacks.items())
        ]
        with open(line.strip(), "w") as file:
            json.dump({"gc_s": _gc_s, "stacks": stacks}, file)


def main() -> None:
    from stream.__main__ import main as driftline

    gc.callbacks.append(_time_gc)
    signal.signal(signal.SIGPROF, _sample)
    threading.Thread(target=_serve, daemon=True).start()
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    driftline()


if __name__ == "__main__":
    main()
