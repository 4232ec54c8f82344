"""The worker with a sampler inside: which Python functions its CPU time goes to.

    python -m benchmarks.sampled_worker worker -c elec2      then a line on stdin: the file to write

Why a signal and not cProfile: that costs more than the functions it measures here. A timer of CPU
time interrupts the main thread now and then, which notes the stack of each thread with the CPU time
that thread has used since. C code shows as the Python function that called it. Garbage collection
is timed by its own hook.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType

EVERY_S = 0.002
DEPTH_MAX = 60


class Sampler:
    """Counts the main thread's stacks and times the garbage collector."""

    def __init__(self) -> None:
        self._stacks: defaultdict[tuple[CodeType, ...], float] = defaultdict(float)
        self._cpu_s: dict[int, float] = {}
        self._n = 0
        self._gc_s = 0.0
        self._gc_began = 0.0

    def start(self) -> None:
        """Sample from now on; call it in the main thread."""
        gc.callbacks.append(self._time_gc)
        signal.signal(signal.SIGPROF, self._sample)
        threading.Thread(target=self._serve, daemon=True).start()
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def _sample(self, number: int, interrupted: FrameType | None) -> None:
        self._n += 1
        frames: dict[int, FrameType | None] = {**sys._current_frames()}
        frames[threading.get_ident()] = interrupted
        for thread, frame in frames.items():
            try:
                cpu_s = time.clock_gettime(time.pthread_getcpuclockid(thread))
            except ProcessLookupError:
                continue  # It ended meanwhile.
            used = cpu_s - self._cpu_s.get(thread, cpu_s)
            self._cpu_s[thread] = cpu_s
            if used > 0:
                self._stacks[_codes(frame)] += used

    def _time_gc(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began = time.perf_counter()
        else:
            self._gc_s += time.perf_counter() - self._gc_began

    def _serve(self) -> None:
        # "reset" forgets everything; any other line names the file to write.
        for line in sys.stdin:
            if line.strip() == "reset":
                self._stacks.clear()
                self._gc_s, self._n = 0.0, 0
            else:
                self._write(Path(line.strip()))

    def _write(self, file: Path) -> None:
        stacks = [
            [cpu_s, [[code.co_filename, code.co_qualname] for code in stack]]
            for stack, cpu_s in list(self._stacks.items())
        ]
        file.write_text(json.dumps({"gc_s": self._gc_s, "n": self._n, "stacks": stacks}))


def _codes(frame: FrameType | None) -> tuple[CodeType, ...]:
    stack: list[CodeType] = []
    while frame is not None and len(stack) < DEPTH_MAX:
        stack.append(frame.f_code)
        frame = frame.f_back
    return tuple(stack)


def main() -> None:
    from stream.cli import main as driftline

    Sampler().start()
    driftline()


if __name__ == "__main__":
    main()
