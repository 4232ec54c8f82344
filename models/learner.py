"""The learner: a fold over the examples log, with the position it has reached.

    state at P  =  fold(learn, fresh learner, examples[0 .. P))

Nothing else ever changes a learner: not scoring, not the clock, not the size of the batches. So
a crash costs nothing but time (load any older dump, absorb from its position again), and a
rebuilt learner can be proven equal to a lost one by its fingerprint.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Sequence
from typing import Any, cast

from msgspec.structs import replace
from river import base

from models import pickling
from models.anatomy import Anatomy
from models.drift import DriftSettings, DriftWatch
from models.errors import CheckpointCorrupt, LearnFailed
from models.model import Model
from models.movement import FeatureSample
from models.pipelines import describe, pipeline_hash
from models.policies import respond
from models.prequential import Prequential, PrequentialValues
from models.rare import HonestScores, RareClasses
from models.reasons import Attribution, ScoreMany
from models.response import ResponseSettings
from models.seen import SeenOffsets
from models.tasks import check_batch, errors_of
from models.thresholds import Budget, BudgetKeeper, ThresholdRule, fixed_threshold
from models.types import (
    DriftSignal,
    Example,
    Features,
    LearnOutcome,
    PolicyStep,
    Score,
    Task,
)
from models.watches import DriftWatches

_STATE_SCHEMA = 2
# Probes: the first examples, and then one for each doubling, so that young learners are told
# apart well and old ones are still probed with recent data; 128 examples last 2**64 records.
_N_FIRST_PROBES = 64
_ROLLING_N_MIN = 10


class Learner:
    """A model with its metrics, its drift watch and its place in the log.

    Parameters
    ----------
    threshold
        The decision threshold; of a budget, the one to begin with.
    budget
        Moves the threshold so that alerts keep within it.
    rare
        How to learn a rare positive class.

    Examples
    --------
    >>> from models.pipelines import build
    >>> learner = Learner(build("logistic", Task.BINARY, seed=7), Task.BINARY)
    >>> learner.version_id, learner.score({"amount": 12.5})
    ('v1-0', 0.5)
    >>> example = Example(
    ...     event_id="e1", features={"amount": 12.5}, label=True, score=0.5, version="v1-0",
    ...     model_position=0, event_time=0.0, label_time=9.0, origin="labels/0", offset=4, floor=4,
    ... )
    >>> learner.absorb([example], offsets=[0]).n_learned, learner.version_id
    (1, 'v1-1')
    >>> learner.absorb([example], offsets=[1]).n_redelivered, learner.version_id
    (1, 'v1-2')
    >>> Learner.load(learner.dump()).fingerprint() == learner.fingerprint()
    True
    """

    # Class attributes, for the states that were written before there was such a thing.
    _keeper: BudgetKeeper | None = None
    _honest: HonestScores | None = None

    def __init__(
        self,
        pipeline: base.Estimator,
        task: Task,
        *,
        threshold: float = 0.5,
        budget: Budget | None = None,
        rare: RareClasses | None = None,
        drift: DriftSettings | None = None,
        response: ResponseSettings | None = None,
        rolling_n: int = 1000,
        lineage: int = 1,
    ) -> None:
        self.task = task
        self.threshold = threshold
        self.lineage = lineage
        self.position = 0
        self.n_learned = 0
        # Taken while the pipeline is fresh: some estimators overwrite their parameters later.
        self.pipeline = describe(pipeline)
        self.pipeline_hash = pipeline_hash(pipeline)
        self._fresh = copy.deepcopy(pipeline)
        self._model = Model(pipeline, task)
        self._failed = False
        self._prequential = Prequential(task, rolling_n)
        self._drift = DriftWatches(drift)
        self._sample = FeatureSample()
        self._response = respond(response)
        self._seen = SeenOffsets()
        self._probes: list[Features] = []
        if budget is not None:
            self.keep_budget(budget)
        if rare is not None and not rare.is_plain:
            self._honest = HonestScores(rare)
            self.pipeline = f"{self.pipeline}, {rare.describe()}"
            self.pipeline_hash = rare.hash_with(self.pipeline_hash)

    @property
    def is_compiled(self) -> bool:
        """Whether the model runs in native code; its predictions are the same either way."""
        return self._model.is_compiled

    @property
    def version_id(self) -> str:
        """The name of the present state: `v<lineage>-<position>`."""
        return f"v{self.lineage}-{self.position}"

    def anatomy(self) -> Anatomy:
        """Give the weights and sizes that the model consists of, for people to compare."""
        return self._model.anatomy()

    def score(self, features: Features) -> Score:
        """Predict for one event."""
        return self.score_many([features])[0]

    def score_many(self, batch: Sequence[Features]) -> list[Score]:
        """Predict for a batch of events; see `models.model.Model.score_many`."""
        scores = self._model.score_many(batch)
        return scores if self._honest is None else [*self._honest.correct(scores)]

    def explain_many(self, batch: Sequence[Features]) -> list[Attribution]:
        """Attribute the scores that `score_many` gives now to features; not of multiclass ones."""
        score_many = cast(ScoreMany, self.score_many)
        found = self._model.explain_many(batch, self._probes, score_many)
        return found if self._honest is None else [one.corrected(self._honest) for one in found]

    def absorb(self, examples: Sequence[Example], offsets: Sequence[int]) -> LearnOutcome:
        """Fold a batch of the examples log into the state.

        1. Skip records below the position and examples that were appended twice.
        2. Check what can be checked before anything changes.
        3. Test: metrics and drift, on the score of score time (so it does not matter what has been
           learned by now). What was never scored, or by a challenger that took a share of the
           traffic, is learned and not tested. A corrected label is one more test.
        4. Learn, in log order, exactly as `model.learn_one(x, y)` for each. After an example that
           drift was found at, the policy may exchange the model.
        5. Move the position to one past the last offset.

        Offsets must rise; they may have gaps.

        Raises
        ------
        LearnFailed
            When River raises. Some of the batch was learned then, so this learner refuses to go
            on: load the last checkpoint.
        """
        assert not self._failed, "this learner failed before: load a checkpoint"
        check_batch(self.task, examples, offsets)
        fresh, fresh_offsets = self._admit(examples, offsets)
        n_before = self.n_learned
        drifts = self._test(fresh, fresh_offsets)
        steps: list[PolicyStep] = []
        if self._response is None:
            self.learn(fresh, fresh_offsets)
        else:
            drifts, steps = self._response.fold(self, fresh, fresh_offsets, drifts)
        if offsets:
            self.position = max(self.position, offsets[-1] + 1)
        return LearnOutcome(
            n_learned=self.n_learned - n_before,
            n_redelivered=len(examples) - len(fresh),
            drifts=drifts,
            steps=steps,
        )

    def leave_out(self, examples: Sequence[Example], offsets: Sequence[int]) -> None:
        """Pass examples by: nothing of them is learned, nor of their repetitions later."""
        assert not self._failed, "this learner failed before: load a checkpoint"
        self._admit(examples, offsets)
        self.position = max(self.position, offsets[-1] + 1)

    def branch(self, lineage: int, position: int, threshold: ThresholdRule | None) -> None:
        """Begin a lineage with this state, going on at `position`; a threshold may come with it."""
        assert lineage > self.lineage and position >= self.position, (lineage, position)
        self.lineage, self.position = lineage, position
        if (fixed := fixed_threshold(threshold)) is not None:
            self.threshold = fixed
            self.keep_budget(None)
        elif threshold is not None:
            self.keep_budget(cast(Budget, threshold))

    @property
    def budget(self) -> Budget | None:
        """The budget of alerts that the threshold keeps; None: the threshold does not move."""
        return None if self._keeper is None else self._keeper.budget

    def keep_budget(self, budget: Budget | None) -> None:
        """Keep another budget from here on, or none; a new one begins with the threshold as is."""
        if budget != self.budget:
            self._keeper = None if budget is None else BudgetKeeper(budget)

    def sibling(self) -> Learner:
        """Give an untrained learner with the same pipeline, which responds to nothing."""
        pipeline = copy.deepcopy(self._fresh)
        # It learns as rare a world; calibration comes from what was published, which it never is.
        rare = None if self._honest is None else replace(self._honest.rare, calibration="none")
        return Learner(
            pipeline, self.task, threshold=self.threshold, rare=rare, rolling_n=_ROLLING_N_MIN
        )

    def adopt(self, other: Learner) -> None:
        """Go on with the model of another learner, which is given away."""
        self._model = other._model

    def metrics(self) -> PrequentialValues:
        """Compute the prequential metrics; see `Prequential.values`."""
        values = self._prequential.values()
        if self._keeper is not None:
            values["total"]["threshold"] = self.threshold
        return values

    def fingerprint(self) -> str:
        """Hash the predictions for examples kept from the log.

        A pure function of the pipeline and the examples learned, in any process: two learners that
        have learned the same predict the same, and learners that differ almost surely do not.
        """
        said: list[Any] = self.score_many(self._probes)
        if self.task is Task.MULTICLASS:
            said = [sorted(score.items()) for score in said]
        content = repr((self.pipeline_hash, said))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def dump(self) -> bytes:
        """Serialise the whole state; `load` continues from it bit for bit."""
        assert not self._failed, "a half-learned state must not be saved: load a checkpoint"
        return pickling.dumps({"schema": _STATE_SCHEMA, "learner": self.__getstate__()})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_failed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._drift, DriftWatch):
            # A state that was written before segments were watched.
            self._drift = DriftWatches.around(self._drift)
        self._failed = False

    @classmethod
    def load(cls, data: bytes, trusted_modules: Collection[str] = ()) -> Learner:
        """Restore a dumped learner.

        Verify where the bytes come from first (`models.checkpoint.decode` does).

        Raises
        ------
        CheckpointCorrupt
            When the bytes are damaged, of another schema, or name what no learner is made of.
        """
        content = pickling.loads(data, trusted_modules)
        if not isinstance(content, dict) or content.get("schema") != _STATE_SCHEMA:
            raise CheckpointCorrupt(
                f"has a state that is not of schema {_STATE_SCHEMA}: load it with the release that "
                "wrote it"
            )
        learner = cls.__new__(cls)
        learner.__setstate__(content["learner"])
        return learner

    def _admit(
        self, examples: Sequence[Example], offsets: Sequence[int]
    ) -> tuple[list[Example], list[int]]:
        admit, position = self._seen.admit, self.position
        fresh, fresh_offsets = [], []
        for example, offset in zip(examples, offsets, strict=True):
            if offset >= position and admit(example.origin, example.offset, example.floor):
                fresh.append(example)
                fresh_offsets.append(offset)
        return fresh, fresh_offsets

    def learn(self, examples: list[Example], offsets: list[int]) -> None:
        """Learn examples without testing on them: the part of `absorb` that changes the model."""
        unsupervised = self.task is Task.ANOMALY
        chosen = [
            (example, offset)
            for example, offset in zip(examples, offsets, strict=True)
            if example.weight > 0.0 and not (unsupervised and example.label is not None)
        ]
        if self._honest is not None:
            self._honest.observe(examples, offsets)
            chosen = self._honest.weigh(chosen)
        try:
            self._model.learn_many(chosen)
        except LearnFailed:
            self._failed = True
            raise
        n_learned, next_probe = self.n_learned, self._next_probe()
        for example, _ in chosen:
            n_learned += 1
            if n_learned == next_probe:
                self._probes.append(example.features)
                self.n_learned = n_learned
                next_probe = self._next_probe()
        self.n_learned = n_learned

    def _next_probe(self) -> int:
        # The count at which the next example is kept: 1, 2, .. 64, 128, 256, ..
        n = self.n_learned
        return n + 1 if n < _N_FIRST_PROBES else 1 << n.bit_length()

    def _test(self, examples: list[Example], offsets: list[int]) -> list[DriftSignal]:
        if self._keeper is None:
            return self._test_part(examples, offsets)
        drifts = []
        for part in self._keeper.parts(len(examples)):
            drifts += self._test_part(examples[part], offsets[part])
            self._spend(self._keeper, examples[part])
        return drifts

    def _spend(self, keeper: BudgetKeeper, examples: list[Example]) -> None:
        # What was published for events, by any arm, each once: of an anomaly's two examples, the
        # first.
        unsupervised = self.task is Task.ANOMALY
        scored = [e for e in examples if (e.label is None) is unsupervised and e.score is not None]
        scores: list[Any] = [example.score for example in scored]
        keeper.add(scores, [example.event_time for example in scored], len(examples))
        if keeper.threshold is not None:
            self.threshold = keeper.threshold

    def _test_part(self, examples: list[Example], offsets: list[int]) -> list[DriftSignal]:
        kept = [i for i, e in enumerate(examples) if e.label is not None and e.tests_champion]
        if len(kept) < len(examples):
            examples, offsets = [examples[i] for i in kept], [offsets[i] for i in kept]
        if not examples:
            return []
        truths: list[Any] = [example.label for example in examples]
        scores: list[Any] = [example.score for example in examples]
        self._prequential.observe(truths, scores, self.threshold)
        errors = errors_of(self.task, truths, scores, self.threshold)
        signals = self._drift.observe(examples, errors, offsets)
        return self._sample.explain(signals, offsets, examples)
