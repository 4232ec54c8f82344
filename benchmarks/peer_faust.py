"""Peer (b): a Faust application as its documentation teaches: one event at a time, JSON, a dict.

A label that overtook its event finds nothing in the dict and is lost, as it would be there.
"""

from __future__ import annotations

import logging
import tempfile
from typing import Any

import faust

from benchmarks.contender import POSITIVE, Job, Stopwatch, pipeline


def build(job: Job, datadir: str) -> faust.App:
    watch, model = Stopwatch(), pipeline()
    pending: dict[str, dict[str, float]] = {}
    counts = {"events": 0, "labels": 0, "learned": 0}
    app = faust.App(
        f"{job.events}.faust",
        broker=f"kafka://{job.bootstrap}",
        value_serializer="json",
        store="memory://",
        datadir=datadir,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        # The embedded broker lets a member join after half its session timeout.
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        broker_rebalance_timeout=6,
    )
    events = app.topic(job.events, value_serializer="json")
    labels = app.topic(job.labels, value_serializer="json")
    scores = app.topic(job.scores, value_serializer="json")

    def end_if_done() -> None:
        if counts["events"] == job.n and counts["labels"] == job.n:
            learned = counts["learned"]
            watch.answer(job, learned=learned, lost=job.n - learned)

    @app.agent(events)
    async def score(stream: faust.StreamT[dict[str, Any]]) -> None:
        async for event in stream:
            watch.start()
            event_id = event.pop("id")
            probability = model.predict_proba_one(event).get(True, 0.0)
            pending[event_id] = event
            await scores.send(key=event_id, value={"id": event_id, "score": probability})
            counts["events"] += 1
            end_if_done()

    @app.agent(labels)
    async def learn(stream: faust.StreamT[dict[str, Any]]) -> None:
        async for label in stream:
            watch.start()
            event = pending.pop(label["id"], None)
            if event is not None:
                model.learn_one(event, label["class"] == POSITIVE)
                counts["learned"] += 1
            counts["labels"] += 1
            end_if_done()

    return app


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="driftline-bench-faust-") as datadir:
        app = build(Job.from_command_line(), datadir)
        # As in `faust worker -l info`. Not quieter: from WARNING on Faust shows a spinner, which
        # sets the root logger to DEBUG, and that costs aiokafka's callers more than their work.
        worker = app.Worker(loglevel=logging.INFO, redirect_stdouts=False, quiet=True)
        worker.execute_from_commandline()


if __name__ == "__main__":
    main()
