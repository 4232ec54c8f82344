"""Where the demo shows itself: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from stream.demo_summary import Summary, render_summary
from stream.demo_view import WIDTH, Frame, drift_line, line, render

if TYPE_CHECKING:
    from rich.status import Status

    from stream.demo import Addresses

REDRAW_S = 0.25
LINE_S = 3.0


class Screen:
    """Shows steps, frames, notes and the summary on one console.

    With `as_json` the console is stderr, and the summary is left to the caller.
    """

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console = console
        self._as_json = as_json
        self._is_terminal = console.is_terminal and not as_json
        self._status: Status | None = None
        self._live: Live | None = None
        self._due_s = 0.0
        self._line_due_s = LINE_S
        self._n_drifts = 0
        self._last_step = ""

    def step(self, text: str) -> None:
        """Say what is being done before and after the playing."""
        if self._is_terminal:
            if self._status is None:
                self._status = self._console.status(text)
                self._status.start()
            self._status.update(text)
        elif text.partition(" (")[0] != self._last_step:
            self._last_step = text.partition(" (")[0]
            self._console.print(self._last_step, markup=False)

    def note(self, text: str) -> None:
        """Say something that stays."""
        self._console.print(text, style="yellow" if self._is_terminal else "", markup=False)

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show frames until the block ends."""
        self._end_steps()
        if not self._is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False) as self._live:
            yield
        self._live = None

    def is_due(self, seconds: float) -> bool:
        """Whether it is time for another frame."""
        return seconds >= self._due_s

    def show(self, frame: Frame) -> None:
        """Show a frame: draw it, or say it in a line every few seconds, drift at once."""
        self._due_s = frame.seconds + REDRAW_S
        if self._live is not None:
            self._live.update(render(frame, self._console.width), refresh=True)
            return
        for drift in frame.drifts[self._n_drifts :]:
            self._print_line(drift_line(drift))
        self._n_drifts = len(frame.drifts)
        # Frames come every REDRAW_S, for the curves; lines only now and then.
        if frame.seconds >= self._line_due_s:
            self._line_due_s = frame.seconds + LINE_S
            self._print_line(line(frame))

    def summary(self, summary: Summary) -> None:
        """Show the summary for people."""
        self._end_steps()
        if not self._as_json:
            self._console.print()
            self._console.print(render_summary(summary))

    def next_steps(self, commands: list[tuple[str, str]]) -> None:
        """Show where to go next: commands, and what they do."""
        self._end_steps()
        if self._as_json:
            return
        width = max(len(command) for command, _ in commands)
        self._console.print("\n[bold]Where to go next[/bold]")
        for command, purpose in commands:
            self._print_line(f"  {command:<{width}}  {purpose}")

    def keep(self, where: Addresses) -> None:
        """Show how to reach the servers, and wait for Ctrl-C."""
        self._end_steps()
        settings = {"DRIFTLINE_CONFIG": where.config, **where.environment()}
        self._console.print("\nEverything is still up. In another shell:")
        for name, value in settings.items():
            self._print_line(f"  export {name}={value}")
        for command in (
            "driftline tail scores",
            "driftline versions list",
            "driftline replay",
            f"curl http://127.0.0.1:{where.http_port}/metrics",
        ):
            self._print_line(f"  {command}")
        self._console.print("Ctrl-C stops it all.")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(1.0)

    def close(self) -> None:
        """Give the terminal back, whatever happened."""
        self._end_steps()

    def _end_steps(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _print_line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def console_of(*, as_json: bool) -> Console:
    """Return the console of the demo, no wider than its picture needs."""
    console = Console(stderr=as_json)
    if console.is_terminal and console.width > WIDTH + 20:
        console.width = WIDTH + 20
    return console
