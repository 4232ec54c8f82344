"""`driftline worker`: the process that scores, joins and learns."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import time
from random import Random
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.common import ConfigOption, load
from stream.cli.errors import CommandError
from stream.cli.recover import birth_record
from stream.cli.store import ask_store
from stream.cli.topics import create_topics

if TYPE_CHECKING:
    from stream.settings import Settings


_CHATTY = tuple((name, logging.WARNING) for name in ("kafka", "aiokafka", "faust", "mode"))
SWITCH_INTERVAL_S = 0.001
"""Python lets a busy thread run for 5 ms before another may: too long for the fetching thread,
which needs several turns for each fetch."""


class SystemClock:
    """The clock that workers run by."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()


def worker(
    config: ConfigOption = None,
    log_level: Annotated[
        str, typer.Option(help="debug, info, warning or error.", envvar="DRIFTLINE_LOG_LEVEL")
    ] = "info",
) -> None:
    """Run a worker: score events, join labels, learn, watch drift, cut versions.

    Start as many as there are partitions and cores; Kafka's consumer group shares the lanes out.
    Topics that are missing are created. Stop it with Ctrl-C or SIGTERM: it finishes the batches in
    flight. Metrics and probes are at http://127.0.0.1:9464/metrics, /healthz and /readyz
    (worker.http_host, worker.http_port).

    Exit status: 0 stopped; 1 failed; 4 its lanes went to another worker; 5 Redis has lost this
    application's state, see driftline recover.

    Example: driftline worker --config fraud
    """
    settings = load(config)
    level = _level(log_level)
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for name, least in (("models", level), ("stream", level), *_CHATTY):
        logging.getLogger(name).setLevel(max(level, least))
    from stream.learners import check_learner

    check_learner(settings)
    warn_if_unsigned(settings)
    birth = ask_store(settings, lambda store: store.birth())
    created = [state.name for state in create_topics(settings) if state.created]
    if created:
        logging.getLogger("driftline").info("created topics: %s", ", ".join(created))
    if birth is None:
        _be_born(settings)
    with tempfile.TemporaryDirectory(prefix="driftline-faust-") as datadir:
        status = _run(settings, datadir, level)
    # Faust's fetching thread waits for a broker that is away, and Python would wait for the thread,
    # which joins the group again one day: a member with partitions that nobody works on.
    logging.shutdown()
    os._exit(status)


def warn_if_unsigned(settings: Settings) -> None:
    """Say once that versions prove nothing about who wrote them, where there is no key."""
    if settings.versions.key_ring() is None:
        logging.getLogger("driftline").warning(
            "versions are not signed: whoever can write to Redis can replace the model. "
            "versions.keys or versions.keys_file signs them"
        )


def _be_born(settings: Settings) -> None:
    """Write the birth record of a new application; refuse where an old one lost its own.

    Raises
    ------
    StateLost
        When Kafka shows that the application has lived before.
    """
    from stream.birth import no_birth_record
    from stream.kafka_group import traces

    found = traces(settings)
    # Asked again after: another worker may have begun this life while we looked.
    if found and ask_store(settings, lambda store: store.birth()) is None:
        raise no_birth_record(settings.app, found)
    ask_store(settings, lambda store: store.bear(birth_record()))


def _run(settings: Settings, datadir: str, level: int) -> int:
    import uvloop

    from stream.app import build_app
    from stream.logs import spare

    uvloop.install()
    spare("aiokafka", time.monotonic)
    try:
        app = build_app(settings, clock=SystemClock(), datadir=datadir, random=Random())
    except OSError as error:
        at = f"{settings.worker.http_host}:{settings.worker.http_port}"
        raise CommandError(
            f"can't serve /metrics at {at}: {error.strerror}. Set worker.http_port to another port,"
            " or to 0 for a free one (environment: DRIFTLINE_WORKER__HTTP_PORT)"
        ) from None
    _calm_the_collector()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # Faust sets the root logger to DEBUG, for its spinner, where it is to log warnings only.
    runner = app.Worker(loglevel=logging.INFO, redirect_stdouts=False, quiet=True)
    try:
        runner.execute_from_commandline()
    except SystemExit as ended:
        return int(ended.code or 0)


def _calm_the_collector() -> None:
    """Let the garbage collector leave alone what will never be garbage.

    A batch makes thousands of dictionaries and every 700 of them would start a collection, which
    walks all modules and the model as well: a third of the time of a batch, measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


def _level(name: str) -> int:
    level = logging.getLevelNamesMapping().get(name.upper())
    if level is None:
        raise typer.BadParameter(f"{name!r} is none of debug, info, warning, error")
    return level
