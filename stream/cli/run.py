"""`driftline worker`, and where the demo's commands are mounted."""

from __future__ import annotations

import tempfile
import time

import typer

from stream.cli import demo
from stream.cli.common import ConfigOption, load


def register(app: typer.Typer) -> None:
    """Mount the commands of this module and of the demo."""
    app.command()(worker)
    demo.register(app)


class SystemClock:
    """The computer's time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()


def worker(config: ConfigOption = None) -> None:
    """Run a worker: score events, join labels, learn; until Ctrl-C or SIGTERM.

    Start as many as you like, on any machine: Kafka divides the partitions among them. Metrics are
    at /metrics, health at /healthz and /readyz of worker.http_port.

    Example: driftline worker -c fraud
    """
    import faust

    from stream.app import build_app, redis_store

    settings = load(config)
    with tempfile.TemporaryDirectory(prefix="driftline-worker-") as datadir:
        app = build_app(
            settings, clock=SystemClock(), store=redis_store(settings), datadir=datadir
        )
        faust.Worker(app, loglevel="info", redirect_stdouts=False).execute_from_commandline()
