"""Peer (e): River's own loop in memory, test then learn. What the model alone costs."""

from __future__ import annotations

from benchmarks.contender import Job, Stopwatch, pipeline
from benchmarks.elec2 import Elec2


def main() -> None:
    job, watch, model = Job.from_command_line(), Stopwatch(), pipeline()
    data = Elec2()
    pairs = [(data.features[i % len(data)], data.truths[i % len(data)]) for i in range(job.n)]
    watch.start()
    for x, y in pairs:
        model.predict_proba_one(x)
        model.learn_one(x, y)
    watch.answer(job, learned=len(pairs))


if __name__ == "__main__":
    main()
