"""Where a worker's CPU time goes: sampled stacks sorted into a few buckets."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.processes import WorkerProcess, time_backlog

Frame = tuple[str, str]
WRITE_TIMEOUT_S = 20.0


class Rule(NamedTuple):
    """A frame's file and function (parts of them) that put a sample into a bucket."""

    bucket: str
    file: str
    function: str = ""


# From the innermost frame outwards, the first frame that any rule fits decides; of several rules,
# the first. What is not ours shows under what called it; only a stack without any of OURS is sorted
# by LIBRARIES. A test holds that these modules and functions exist.
OURS = (
    Rule("score: the model", "models/model.py", "Model.score_many"),
    Rule("score: reasons", "models/reasons.py"),
    Rule("score: reasons", "models/importance.py"),
    Rule("score: reasons", "stream/explaining.py"),
    Rule("score: drift without labels", "models/data_drift.py"),
    Rule("score: drift without labels", "stream/label_free.py"),
    Rule("score: decode", "stream/intake.py"),
    Rule("score: features of the past", "stream/derived.py"),
    Rule("score: pending to Redis", "models/stores/redis.py", "RedisStore.put_pending"),
    Rule("score: encode pending", "stream/messages.py", "encode_pending"),
    Rule("score: encode scores", "stream/score.py", "ScoreHandler._publish"),
    Rule("score: other", "stream/score.py"),
    Rule("label: decode", "stream/label.py", "LabelHandler._decode_all"),
    Rule("label: decode pending", "stream/messages.py", "decode_pending"),
    Rule("label: claim in Redis", "models/stores/redis.py", "RedisStore.claim"),
    Rule("label: claim in Redis", "stream/label.py", "LabelHandler._claim"),
    Rule("label: join, encode examples", "stream/label.py"),
    Rule("learn: decode", "stream/learn.py", "LearnHandler._learn.<locals>.<listcomp>"),
    Rule("learn: the model", "models/model.py", "Model._learn_in_one_call"),
    Rule("learn: metrics", "models/prequential.py"),
    Rule("learn: metrics", "models/ranking.py"),
    Rule("learn: which features moved", "models/movement.py", "FeatureSample"),
    Rule("learn: drift", "models/drift.py"),
    Rule("learn: skip redeliveries", "models/seen.py", "SeenOffsets"),
    Rule("learn: cut versions", "stream/learn.py", "LearnHandler._cut"),
    Rule("learn: cut versions", "stream/learn.py", "LearnHandler._add_cut"),
    Rule("learn: other", "stream/learn.py"),
    Rule("all: publish", "stream/outbox.py"),
    Rule("all: own metrics", "stream/metrics.py"),
)
LIBRARIES = (
    Rule("all: commit to Redis", "models/stores/redis.py"),
    Rule("all: commit to Redis", "redis/"),
    Rule("all: publish", "aiokafka/producer/"),
    Rule("all: consume", "aiokafka/consumer/"),
    Rule("all: consume", "aiokafka/record/"),
    Rule("all: Kafka connection", "aiokafka/"),
    Rule("all: own metrics", "prometheus_client/"),
    Rule("all: replies of Kafka and Redis", "asyncio/streams.py"),
    Rule("all: deliver (Faust)", "faust/"),
    Rule("all: deliver (Faust)", "mode/"),
    Rule("all: deliver (Faust)", "stream/batching.py"),
    Rule("all: lanes", "stream/"),
)
OTHER = "all: event loop, other"
# Where the main thread's event loop is run from, and any other thread's.
MAIN = ("mode/worker.py", "Worker.execute_from_commandline")
THREADS = (
    Rule("thread: consumer group", "mode/threads.py"),
    Rule("thread: http and metrics", "http/server.py"),
    Rule("thread: http and metrics", "stream/http.py"),
    Rule("thread: other", "threading.py", "Thread._bootstrap"),
)


class Hotspots(NamedTuple):
    """Microseconds of CPU per record by bucket; and, counted in them, garbage collection."""

    buckets: dict[str, float]
    gc_us: float
    total_us: float
    n_samples: int
    functions: dict[str, float]


def profile_backlog(
    bootstrap: str, redis_url: str, app: str, n: int, pipeline: str = "logistic"
) -> Hotspots:
    """Work off a backlog with the sampled worker."""
    module = "benchmarks.sampled_worker"
    with (
        tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder,
        WorkerProcess(bootstrap, redis_url, app, module=module, pipeline=pipeline) as worker,
    ):
        worker.await_ready()
        worker.tell("reset")
        result = time_backlog(worker, n)
        file = Path(folder) / "stacks.json"
        worker.tell(str(file))
        content = _read_when_written(file)
    stacks = [(cpu_s, [(f, q) for f, q in stack]) for cpu_s, stack in content["stacks"]]
    gc_us = 1e6 * content["gc_s"] / n
    return sort_stacks(stacks, cpu_us=result.cpu_us, gc_us=gc_us, n_samples=content["n"])


def sort_stacks(
    stacks: Sequence[tuple[float, Sequence[Frame]]], *, cpu_us: float, gc_us: float, n_samples: int
) -> Hotspots:
    """Share the CPU time per record out to the buckets."""
    by_bucket: defaultdict[str, float] = defaultdict(float)
    by_function: defaultdict[str, float] = defaultdict(float)
    for cpu_s, stack in stacks:
        bucket = _bucket(stack)
        by_bucket[bucket] += cpu_s
        # Another thread is seen where it waits, not where it worked.
        file, function = (bucket, "") if bucket.startswith("thread") else stack[0]
        by_function[f"{'/'.join(file.split('/')[-2:])}: {function}"] += cpu_s
    per_s = cpu_us / sum(by_bucket.values())
    return Hotspots(
        _largest_first(by_bucket, per_s),
        gc_us,
        cpu_us,
        n_samples,
        _largest_first(by_function, per_s),
    )


def _largest_first(cpu_s: Mapping[str, float], us_per_s: float) -> dict[str, float]:
    ordered = sorted(cpu_s.items(), key=lambda item: item[1], reverse=True)
    return {name: us_per_s * value for name, value in ordered}


def _bucket(stack: Sequence[Frame]) -> str:
    for rule in THREADS:
        if any(rule.file in file and rule.function in function for file, function in stack):
            return rule.bucket
    for depth, (file, function) in enumerate(stack):
        if MAIN[0] in file and MAIN[1] == function:
            stack = stack[:depth]
            break
    for rules in (OURS, LIBRARIES):
        for file, function in stack:
            for rule in rules:
                if rule.file in file and rule.function in function:
                    return rule.bucket
    return OTHER


def _read_when_written(file: Path) -> dict[str, Any]:
    deadline = time.monotonic() + WRITE_TIMEOUT_S
    while True:
        try:
            content: dict[str, Any] = json.loads(file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return content
