"""The core: what is learned and how it is proven. River and value types; no I/O, no clock.

A learner's life:

1. `build` makes a fresh River pipeline by name, seeded, and a `Learner` wraps it. It stands at
   position 0 of the examples log and is called `v1-0`.
2. Events come by and `Learner.score_many` predicts for them. Scoring teaches it nothing.
3. Labels come late. The shell joins each with the features and the score of its event to an
   `Example`, appended to the log; `Learner.absorb` folds batches of that log into the state. An
   example that was appended twice is recognised (`SeenOffsets`) and skipped.
4. While it learns it is judged by what it said at the time: `Prequential` keeps its metrics
   beside those of baselines, `DriftWatch` says when its error has changed, and which way. What is
   done about it is a `Policy`, and as much a part of the fold as the learning. What nobody has
   labelled yet is estimated (`clocks`).
5. Now and then a version is cut: `encode` takes the state with its position, metrics and
   fingerprint, `seal` signs them. After a crash, `restore` verifies the newest one, the shell seeks
   to its position, and the fold goes on; the result is that of a run that never crashed, bit for
   bit.
6. A command may take it back to an older version, or on with another threshold. That begins a
   `Lineage`, whose segments every later version carries: what it was folded from, and what not.
   What a version has seen is its `Exposure`.
7. A challenger is another fold of the same log. A `Duel` asks it and a copy of the champion before
   it teaches both; the `gate` keeps what that proves, however often somebody looks.
8. Any version can be had again: an older one by `restore`, a lost one by leading a fresh learner
   over its `Course` through the log. Equal fingerprints prove it.

Modules, from the ground up: `types`, `errors`; `features` of an entity's past; `transformers` and
`pipelines`; `reliability`, `ranking` and `prequential`; `clocks`; `tasks`, `thresholds`, `rare`;
`segments` and `detectors`, `drift`, `watches` of segments within one budget, `movement`, which says
what moved, and `data_drift`; `response`, `contest` and `policies`; `pickling`; `fused` and
`compiled`, which are faster; `anatomy`, `paths`, `reasons`, `importance` and `model`; `seen` and
`learner`; `lineage`; `exposure`; `gate` and `duel`; `sealing`; `checkpoint`; `stores` keep what
that encodes. Beside them, `card_precision` measures what a team would find.
"""

from models.checkpoint import (
    CutReason,
    VersionMeta,
    decode,
    decode_meta,
    encode,
    libraries,
    peek,
    restore,
    seal,
    unseal,
)
from models.drift import DriftSettings, DriftWatch
from models.errors import (
    CheckpointConflict,
    CheckpointCorrupt,
    CheckpointError,
    DriftlineError,
    InvalidPipeline,
    LearnFailed,
    Refusal,
    StoreUnavailable,
    UnknownVersion,
)
from models.learner import Learner
from models.lineage import Course, Exclusion, Lineage, Segment, parse_id
from models.pipelines import build, describe, names, pipeline_hash, trusted_modules
from models.prequential import Prequential, PrequentialValues
from models.response import Policy, ResponseSettings
from models.sealing import KeyRing
from models.seen import SeenOffsets
from models.thresholds import AlertsAnHour, AlertShare, ExpectedCost
from models.types import (
    Direction,
    DriftKind,
    DriftLevel,
    DriftSignal,
    Example,
    Features,
    FeatureValue,
    LearnOutcome,
    MetricValues,
    Movement,
    PolicyStep,
    Score,
    Task,
    Truth,
)

__all__ = [
    "AlertShare",
    "AlertsAnHour",
    "CheckpointConflict",
    "CheckpointCorrupt",
    "CheckpointError",
    "Course",
    "CutReason",
    "Direction",
    "DriftKind",
    "DriftLevel",
    "DriftSettings",
    "DriftSignal",
    "DriftWatch",
    "DriftlineError",
    "Example",
    "Exclusion",
    "FeatureValue",
    "ExpectedCost",
    "Features",
    "InvalidPipeline",
    "KeyRing",
    "LearnFailed",
    "LearnOutcome",
    "Learner",
    "Lineage",
    "MetricValues",
    "Movement",
    "Policy",
    "PolicyStep",
    "Prequential",
    "PrequentialValues",
    "Refusal",
    "ResponseSettings",
    "Score",
    "SeenOffsets",
    "Segment",
    "StoreUnavailable",
    "Task",
    "Truth",
    "UnknownVersion",
    "VersionMeta",
    "build",
    "decode",
    "decode_meta",
    "describe",
    "encode",
    "libraries",
    "names",
    "parse_id",
    "peek",
    "pipeline_hash",
    "restore",
    "seal",
    "trusted_modules",
    "unseal",
]
