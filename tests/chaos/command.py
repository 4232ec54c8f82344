"""`scripts/chaos`: real servers and workers, faults for some minutes, an oracle at the end."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from stream.cli.topics import admin_client, create_topics
from stream.settings import Settings
from stream.topics import EVENTS, LABELS
from tests.chaos.evidence import gather
from tests.chaos.feed import Feeder
from tests.chaos.oracle import Judgement, judge
from tests.chaos.run import CONFIG, Run, settings_of
from tests.chaos.schedule import KILLS, Kind
from tests.chaos.servers import Kafka, Redis
from tests.chaos.workers import Supervisor


def main(arguments: list[str] | None = None) -> int:
    """Run; exit status 1 if anything was violated."""
    options = _parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-"))
    with ExitStack() as stack:
        run, workers, settings = _set_up(options, folder, stack)
        run.go(options.minutes * 60.0)
        judgement = judge(settings, gather(settings))
        violations = [*workers.violations, *run.violations, *judgement.violations]
        _report(run.done, workers, judgement)
    for violation in violations:
        print(f"VIOLATION: {violation}")
    if violations:
        print(f"{len(violations)} violations; what the workers logged is in {folder}")
        return 1
    if options.keep_logs:
        print(f"what the workers logged is in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print("0 violations")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Run Kafka, Redis and workers under load while they are killed, paused, "
        "frozen and restarted; then rebuild everything from the topics and compare.",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule and the feed")
    parser.add_argument("--workers", type=int, default=3, help="at the beginning (default: 3)")
    parser.add_argument("--partitions", type=int, default=4, help="of the topics (default: 4)")
    parser.add_argument("--rate", type=float, default=150.0, help="events a second (default: 150)")
    parser.add_argument("--keep-logs", action="store_true", help="even if nothing is violated")
    return parser.parse_args(arguments)


def _set_up(
    options: argparse.Namespace, folder: Path, stack: ExitStack
) -> tuple[Run, Supervisor, Settings]:
    kafka = Kafka(f"chaos-{options.seed}-{os.getpid()}")
    stack.callback(kafka.close)
    redis = Redis(folder)
    stack.callback(redis.close)
    environment = {
        "DRIFTLINE_CONFIG": str(CONFIG),
        "DRIFTLINE_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "DRIFTLINE_KAFKA__PARTITIONS": str(options.partitions),
        "DRIFTLINE_REDIS__URL": redis.url,
    }
    settings = settings_of(environment)
    _create_topics(settings)
    workers = Supervisor(folder, environment, options.workers)
    stack.callback(workers.close)
    # Two generators: what is fed does not depend on who was hit.
    fed, hit = random.Random(options.seed), random.Random(f"faults of {options.seed}")
    feeder = Feeder(kafka.bootstrap, settings.app, fed, options.rate)
    return Run(settings, kafka, redis, workers, feeder, hit), workers, settings


def _create_topics(settings: Settings) -> None:
    """Create the inputs with the broker's time: when an event came is what its label waited for."""
    with admin_client(settings) as admin:
        for topic in (EVENTS, LABELS):
            options = {
                "num_partitions": settings.kafka.partitions,
                "replication_factor": 1,
                "configs": {**topic.config(), "message.timestamp.type": "LogAppendTime"},
            }
            admin.create_topics({topic.full_name(settings.app): options}, wait_for_metadata=True)
    create_topics(settings)


def _report(done: Counter[Kind], workers: Supervisor, judgement: Judgement) -> None:
    sys.stdout.write("\nfaults\n")
    for kind in Kind:
        _line(kind.value, done[kind])
    _line("kills in all", sum(done[kind] for kind in KILLS))
    print("workers that ended, by status")
    for status, n in sorted(workers.ended.items()):
        _line(str(status), n)
    for failure in workers.failures:
        print(f"    {failure}")
    balance = judgement.balance
    sides = {
        "events": balance.events,
        "labels": balance.labels,
        "learned": balance.learned,
        "not taken": balance.backlog,
        "published again, identical": balance.redelivered,
        "conflicts": balance.conflicts,
    }
    for side, lines in sides.items():
        print(side)
        for what, n in lines.items():
            _line(what, n)
    print(f"fingerprint of the fold: {judgement.fingerprint}")


def _line(what: str, n: int) -> None:
    print(f"  {what:<40}{n:>10,}")
