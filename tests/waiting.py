"""Waiting for a condition, instead of sleeping and hoping."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    condition: Callable[[], T | None],
    *,
    deadline_s: float = 10.0,
    poll_s: float = 0.05,
    message: str | Callable[[], str] = "",
) -> T:
    """Return the condition's first true value; fail if there is none before the deadline.

    The condition is asked at least once, and once more at the deadline. What it raises is not
    caught: an error is no "not yet". A message to call tells of how things stand at the end.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        is_last = time.monotonic() >= deadline
        if value := condition():
            return value
        if is_last:
            told = message() if callable(message) else message
            what = told or getattr(condition, "__name__", repr(condition))
            raise AssertionError(f"not within {deadline_s} s: {what} (last value: {value!r})")
        time.sleep(poll_s)


def heed_sigint() -> None:
    """Undo, in a child, that shells make background jobs deaf to Ctrl-C (for `preexec_fn`)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
