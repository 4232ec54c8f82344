"""Peer (d): Quix Streams with River on the events alone.

Generous to it: there is no labels topic, no join and no output; each event is scored, and
learned at once with the truth from memory.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application

from benchmarks.contender import Job, Stopwatch, pipeline
from benchmarks.elec2 import Elec2


def main() -> None:
    job, watch, model = Job.from_command_line(), Stopwatch(), pipeline()
    truths = Elec2().truths
    n_rows, n_learned = len(truths), 0

    def score_and_learn(event: dict[str, Any]) -> float:
        nonlocal n_learned
        watch.start()
        row = int(event.pop("id")) % n_rows
        score: float = model.predict_proba_one(event).get(True, 0.0)
        model.learn_one(event, truths[row])
        n_learned += 1
        if n_learned == job.n:
            watch.answer(job, learned=n_learned)
        return score

    app = Application(
        broker_address=job.bootstrap,
        consumer_group=f"{job.events}.quix",
        auto_offset_reset="earliest",
        loglevel="ERROR",
        # The embedded broker lets a member join after half its session timeout.
        consumer_extra_config={"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000},
    )
    events = app.topic(job.events, value_deserializer="json")
    app.dataframe(events).apply(score_and_learn)
    app.run()


if __name__ == "__main__":
    main()
