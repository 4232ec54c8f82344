"""`driftline clocks`: how good the model was, how good it probably is, how much is labelled."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, notes, out, print_json, progress_bar
from stream.cli.errors import CommandError

if TYPE_CHECKING:
    from rich.progress import Progress

    from stream.clocks import Follower, Reading
    from stream.kafka_log import Log
    from stream.settings import Settings

THRESHOLD_MOVED = 0.01
"""From here on every event is decided anew, which reads the topics from their beginning."""
UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def clocks(
    config: ConfigOption = None,
    serve: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, metavar="PORT",
            help="Stay, and serve them at /metrics on worker.http_host; 0 takes a free port.",
        ),
    ] = None,
    every: Annotated[
        str, typer.Option(metavar="DURATION", help="With --serve: how often to read on.")
    ] = "30s",
    arm: Annotated[
        str, typer.Option(metavar="NAME", help="Of the decisions of a challenger with a share.")
    ] = "champion",
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Show matured metrics, an estimate for events without labels, and the share labelled by age.

    Matured metrics are of the labels that came, which may be the easy ones: the coverage says of
    how many events. The estimate needs no label: if a score is a probability, events tell by their
    scores how many of the decisions are right (CBPE). It can't see that what scores mean has
    changed. Reads the topics of scores and examples; decides by the threshold of the newest score.

    For example:

      driftline clocks -c fraud

      driftline clocks --serve 9465 -c fraud
    """
    import msgspec

    from stream.durations import seconds_of
    from stream.kafka_log import open_log

    settings = load(config)
    try:
        pause = seconds_of(every)
    except ValueError as error:
        raise CommandError(f"--every: {error}") from None
    with open_log(settings.kafka) as log, progress_bar(quiet=as_json) as bar:
        if serve is not None:
            _serve(settings, log, arm, serve, pause)
        found = _follower(settings, log, arm, bar).catch_up()
    if as_json:
        body = msgspec.to_builtins(found)
        body["coverage"] = [
            {**msgspec.to_builtins(one), "share": one.share} for one in found.coverage
        ]
        print_json(body)
    elif found.coverage:
        _print(found)
    else:
        out().print("nothing has been scored yet")


def _follower(settings: Settings, log: Log, arm: str, bar: Progress | None = None) -> Follower:
    from stream.clocks import Clocks, Follower, newest_threshold
    from stream.topics import EXAMPLES, SCORES

    model = settings.model
    one = Clocks(
        model.task, threshold=newest_threshold(log, settings.app) or 0.0,
        rolling_n=model.rolling_n, ttl=settings.join.ttl, arm=arm,
    )  # fmt: skip
    if bar is None:
        return Follower(one, log, settings.app)
    names = [topic.full_name(settings.app) for topic in (EXAMPLES, SCORES)]
    # Asked before anything is read: a log that is being read can't be asked.
    sizes = {name: sum(end - first for first, end in log.ends(name).values()) for name in names}
    tasks = {name: bar.add_task(name, total=sizes[name], count=0) for name in names}
    counts: Counter[str] = Counter()

    def reading(topic: str, n: int) -> None:
        counts[topic] += n
        bar.update(tasks[topic], completed=counts[topic], count=counts[topic])

    return Follower(one, log, settings.app, reading)


def _serve(settings: Settings, log: Log, arm: str, port: int, pause: float) -> NoReturn:
    from stream.clocks import newest_threshold
    from stream.http import MonitoringServer
    from stream.metrics import ClockMetrics

    metrics = ClockMetrics()
    follower = _follower(settings, log, arm)
    metrics.show(follower.catch_up())
    host = settings.worker.http_host
    server = MonitoringServer(host, port, metrics=metrics.exposition, readiness=lambda: None)
    server.start()
    notes().print(f"serving http://{host}:{server.port}/metrics; end it with Ctrl-C")
    while True:
        time.sleep(pause)
        threshold = newest_threshold(log, settings.app) or 0.0
        if abs(threshold - follower.clocks.threshold) > THRESHOLD_MOVED:
            follower = _follower(settings, log, arm)
        metrics.show(follower.catch_up())


def _print(found: Reading) -> None:
    n, n_labelled = (sum(column) for column in zip(
        *((one.n, one.n_labelled) for one in found.coverage), strict=True))  # fmt: skip
    table = Table("metric", box=None)
    for title in ("matured", "matured, last window", "estimated"):
        table.add_column(title, justify="right")
    total, rolling = found.matured["total"], found.matured["rolling"]
    guessed = {} if found.estimated is None else found.estimated.metrics
    for name in dict.fromkeys((*guessed, *total)):
        cells = (f"{view[name]:.4f}" if name in view else "" for view in (total, rolling, guessed))
        table.add_row(name, *cells)
    out().print(table)
    out().print(f"matured: {found.matured['n']:,} labels that came")
    if found.estimated is not None:
        how = (
            f"scores calibrated by {found.estimated.n_calibrated:,} labels"
            if found.estimated.n_calibrated
            else "scores taken as probabilities: no age is labelled nearly whole yet"
        )
        out().print(f"estimated: {found.estimated.n:,} events that wait for labels; {how}")
    silent = f", {found.n_silent:,} of them by silence" if found.n_silent else ""
    out().print(f"labelled: {n_labelled:,} of {n:,} events ({n_labelled / n:.1%}){silent}")
    ages = Table("younger than", box=None)
    for title in ("events", "labelled", "share"):
        ages.add_column(title, justify="right")
    for one in found.coverage:
        ages.add_row(_age(one.younger_than), f"{one.n:,}", f"{one.n_labelled:,}",
                     f"{one.share:.1%}")  # fmt: skip
    out().print(ages)


def _age(seconds: float) -> str:
    for unit, name in UNITS:
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"
