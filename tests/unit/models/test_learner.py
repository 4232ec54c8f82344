"""The learner is a fold: any batching, crash, redelivery or bystander leaves the same state."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import base, linear_model, preprocessing

from models import (
    CheckpointCorrupt,
    DriftSettings,
    Learner,
    LearnFailed,
    SeenOffsets,
    Task,
    build,
    pickling,
)
from models.detectors import CALIBRATED
from tests.example_logs import (
    PIPELINES,
    absorb_in,
    everything,
    features_for,
    make_log,
    new_learner,
)

N = 240


@pytest.fixture(scope="module", params=PIPELINES, ids=lambda param: f"{param[0]}-{param[1]}")
def case(request: pytest.FixtureRequest) -> tuple[str, Task, list[Any]]:
    """A pipeline with a log for it."""
    name, task = request.param
    return name, task, make_log(name, task, N)


def undisturbed(case: tuple[str, Task, list[Any]]) -> tuple[Learner, list[object]]:
    """Fold the log one example at a time."""
    name, task, log = case
    learner = new_learner(name, task)
    return learner, absorb_in(learner, log, range(len(log)), [1])


class TestFold:
    """The state is a function of the log alone."""

    @settings(max_examples=8, deadline=None)
    @given(sizes=st.lists(st.integers(1, 100), min_size=1, max_size=6))
    def test_any_batching_gives_the_same(
        self, case: tuple[str, Task, list[Any]], sizes: list[int]
    ) -> None:
        """Predictions, metrics, drift signals: bit for bit."""
        name, task, log = case
        expected, drifts = undisturbed(case)
        learner = new_learner(name, task)
        assert absorb_in(learner, log, range(N), sizes) == drifts
        assert everything(learner) == everything(expected)

    def test_there_is_drift_to_be_found(self) -> None:
        """The tests here compare drift signals; this log has some."""
        log = make_log("logistic", Task.BINARY, 1_500)
        learner = new_learner("logistic", Task.BINARY)
        assert absorb_in(learner, log, range(1_500), [64])

    def test_scoring_teaches_nothing(self, case: tuple[str, Task, list[Any]]) -> None:
        """However much is scored in between, even before the first example, even oddities."""
        name, task, log = case
        rng = random.Random(9)
        learner = new_learner(name, task)
        drifts: list[object] = []
        for start in range(0, N, 24):
            strangers = [features_for(name, rng) for _ in range(20)]
            strangers.append(strangers[0] | {"unheard_of": 1.5})
            learner.score_many(strangers)
            learner.fingerprint()
            drifts += learner.absorb(log[start : start + 24], range(start, start + 24)).drifts
        expected, expected_drifts = undisturbed(case)
        assert everything(learner) == everything(expected)
        assert drifts == expected_drifts

    def test_a_dump_at_any_point_goes_on_exactly(self, case: tuple[str, Task, list[Any]]) -> None:
        """Predictions on unseen events agree as well, after both have learned on."""
        name, task, log = case
        expected, _ = undisturbed(case)
        rng = random.Random(3)
        unseen = [features_for(name, rng) for _ in range(20)]
        for crash_at in range(0, N, 48):
            learner = new_learner(name, task)
            absorb_in(learner, log[:crash_at], range(crash_at), [50])
            learner = Learner.load(learner.dump())
            assert learner.position == crash_at
            absorb_in(learner, log[crash_at:], range(crash_at, N), [50])
            assert everything(learner) == everything(expected)
            assert learner.score_many(unseen) == expected.score_many(unseen)

    def test_equal_examples_in_another_order_are_another_model(self) -> None:
        """So that the comparisons above mean something."""
        log = make_log("logistic", Task.BINARY, N)
        one, other = (new_learner("logistic", Task.BINARY) for _ in range(2))
        absorb_in(one, log, range(N), [40])
        swapped = [*log[:100], log[101], log[100], *log[102:]]
        absorb_in(other, swapped, range(N), [40])
        assert one.fingerprint() != other.fingerprint()

    def test_a_learner_is_the_five_line_loop(self) -> None:
        """Weights included, where the pipeline takes them."""
        log = make_log("logistic", Task.BINARY, N)
        learner = new_learner("logistic", Task.BINARY)
        absorb_in(learner, log, range(N), [31])
        model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
        for example in log:
            model.learn_one(example.features, example.label, w=example.weight)
        for example in log:
            x = example.features
            assert learner.score(x) == model.predict_proba_one(x)[True]


class TestCrashes:
    """Restored from any earlier dump and fed again, the run is the undisturbed one."""

    @pytest.mark.parametrize("crash_at", range(0, 121, 5))
    def test_a_crash_anywhere_changes_nothing(self, crash_at: int) -> None:
        """Each earlier dump, with the log redelivered from well below its position."""
        name, task = "hoeffding-adaptive-tree", Task.BINARY
        log = make_log(name, task, 120)
        expected, drifts = undisturbed((name, task, log))
        learner = new_learner(name, task)
        before = absorb_in(learner, log[:crash_at], range(crash_at), [9])
        learner = Learner.load(learner.dump())
        again = max(0, crash_at - 30)
        outcome = learner.absorb(log[again:crash_at], range(again, crash_at))
        assert (outcome.n_learned, outcome.n_redelivered) == (0, crash_at - again)
        assert learner.position == crash_at
        after = absorb_in(learner, log[again:], range(again, 120), [13])
        assert before + after == drifts
        assert everything(learner) == everything(expected)

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_appended_twice_is_learned_once(self, data: st.DataObject) -> None:
        """Lanes crash between publish and commit, and append a tail of their own again.

        Each copy comes later in the log, with a new offset, from its own lane's uncommitted batch;
        the learner itself may crash at any point as well.
        """
        name, task = "logistic", Task.BINARY
        log = make_log(name, task, 120)
        expected, _ = undisturbed((name, task, log))
        published: list[Any] = []
        # A lane's batch of four shares a floor; it may be published again until the next begins.
        for i, example in enumerate(log):
            published.append(example)
            if data.draw(st.booleans()):
                batch = [e for e in log[: i + 1] if e.origin == example.origin]
                published += [e for e in batch if e.offset >= example.floor]
        learner = new_learner(name, task)
        start = 0
        n_redelivered = 0
        while start < len(published):
            end = start + data.draw(st.integers(1, 60))
            offsets = range(start, min(end, len(published)))
            n_redelivered += learner.absorb(published[start:end], offsets).n_redelivered
            learner = Learner.load(learner.dump())
            start = end
        assert n_redelivered == len(published) - len(log)
        assert everything(learner) == everything(expected)
        assert learner._seen.n_remembered <= 8

    def test_the_position_only_rises(self) -> None:
        """A batch from below is skipped whole; gaps are jumped."""
        log = make_log("logistic", Task.BINARY, 10)
        learner = new_learner("logistic", Task.BINARY)
        learner.absorb(log[:5], [0, 1, 5, 6, 9])
        assert learner.position == 10
        assert learner.absorb(log[5:7], [2, 3]).n_redelivered == 2
        assert (learner.position, learner.version_id) == (10, "v1-10")
        assert learner.absorb([], []).n_learned == 0


class TestSeenOffsets:
    """Exactly once, in bounded memory."""

    @given(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 3)), max_size=80
        )
    )
    def test_it_is_a_set_of_everything_above_the_floor(
        self, arrivals: list[tuple[str, int, int]]
    ) -> None:
        """Against a memory that never forgets.

        A floor promises that all below is in the log before, so what lies below the highest
        floor counts as seen; everything else is judged by memory alone.
        """
        seen = SeenOffsets()
        memory: set[tuple[str, int]] = set()
        floors = {"a": 0, "b": 0}
        for origin, offset, behind in arrivals:
            floor = max(0, offset - behind)
            floors[origin] = max(floors[origin], floor)
            is_new = offset >= floors[origin] and (origin, offset) not in memory
            assert seen.admit(origin, offset, floor) == is_new
            memory.add((origin, offset))
            in_flight = {(o, n) for o, n in memory if n >= floors[o]}
            assert seen.n_remembered == len(in_flight)


class Fragile(linear_model.LogisticRegression):
    """Breaks on a poisoned example, as River does on values that validation let through."""

    def learn_one(self, x: Any, y: Any, w: float = 1.0) -> None:
        if x["a"] == "poison":
            raise TypeError("no number")
        super().learn_one(x, y, w)


class TestFailures:
    """Bugs are told with their place in the log, and never saved."""

    def test_a_failure_names_the_example_and_ends_the_learner(self) -> None:
        """Half of a batch was learned: such a state must not be saved or go on."""
        log = make_log("logistic", Task.BINARY, 10)
        poisoned = msgspec.structs.replace(log[6], features={"a": "poison"})
        learner = Learner(Fragile(), Task.BINARY)
        with pytest.raises(LearnFailed, match=r"'e6' at offset 106 .*no number") as raised:
            learner.absorb([*log[:6], poisoned], range(100, 107))
        assert isinstance(raised.value.__cause__, TypeError)
        for action in (learner.dump, lambda: learner.absorb(log, range(10))):
            with pytest.raises(AssertionError, match="load a checkpoint"):
                action()

    @pytest.mark.parametrize(
        ("task", "label"),
        [
            (Task.BINARY, 1),
            (Task.BINARY, None),
            (Task.MULTICLASS, True),
            (Task.REGRESSION, "1.5"),
            (Task.REGRESSION, True),
            (Task.ANOMALY, "yes"),
        ],
    )
    def test_a_label_of_another_type_changes_nothing(self, task: Task, label: Any) -> None:
        """A True among 1s would be another class; the batch is refused before it is learned."""
        name = {"binary": "logistic", "multiclass": "softmax", "regression": "linear-regression"}
        pipeline = name.get(task, "half-space-trees")
        log = make_log(pipeline, task, 10)
        learner = new_learner(pipeline, task)
        before = learner.fingerprint()
        wrong = msgspec.structs.replace(log[9], label=label)
        with pytest.raises(AssertionError, match="e9"):
            learner.absorb([*log[:9], wrong], range(10))
        assert (learner.position, learner.n_learned, learner.fingerprint()) == (0, 0, before)
        assert learner.absorb(log, range(10)).n_redelivered == 0

    def test_offsets_that_do_not_rise_are_a_bug(self) -> None:
        """The log has one order."""
        log = make_log("logistic", Task.BINARY, 3)
        with pytest.raises(AssertionError, match="rise"):
            new_learner("logistic", Task.BINARY).absorb(log, [0, 2, 2])

    @pytest.mark.parametrize(
        "detector",
        [*CALIBRATED, "river.drift.binary:HDDMW", "river.drift.binary:EDDM"],
    )
    def test_whatever_watches_is_saved_with_it(self, detector: str) -> None:
        """Some of River's detectors keep a method of their own."""
        drift = DriftSettings(detector=detector)
        learner = Learner(build("logistic", Task.BINARY, 1), Task.BINARY, drift=drift)
        log = make_log("logistic", Task.BINARY, N)
        absorb_in(learner, log[:100], range(100), [50])
        again = Learner.load(learner.dump())
        tails = [absorb_in(one, log[100:], range(100, N), [7]) for one in (learner, again)]
        assert tails[0] == tails[1]

    def test_a_state_of_another_schema_is_refused(self) -> None:
        """Rather than guessed at."""
        with pytest.raises(CheckpointCorrupt, match="schema"):
            Learner.load(pickling.dumps({"schema": 0, "learner": {}}))


class TestScores:
    """What comes out, for each task."""

    @pytest.mark.parametrize(
        ("name", "task", "cold"),
        [
            ("logistic", Task.BINARY, 0.5),
            ("adaptive-random-forest", Task.BINARY, 0.0),
            ("softmax", Task.MULTICLASS, {}),
            ("linear-regression", Task.REGRESSION, 0.0),
            ("half-space-trees", Task.ANOMALY, 0.0),
        ],
    )
    def test_an_untrained_learner_says_what_river_says(
        self, name: str, task: Task, cold: object
    ) -> None:
        """And of no class at all, 0 for the positive one."""
        assert new_learner(name, task).score({"a": 1.0}) == cold

    def test_forests_are_set_up_by_the_log_and_not_by_what_is_scored(self) -> None:
        """River's forests fix their number of features at the first event they see."""
        log = make_log("adaptive-random-forest", Task.BINARY, 60)
        one, other = (new_learner("adaptive-random-forest", Task.BINARY) for _ in range(2))
        other.score({f"feature_{i}": 1.0 for i in range(25)})
        for learner in (one, other):
            learner.absorb(log, range(60))
        assert one.fingerprint() == other.fingerprint()
        assert one.dump() == other.dump()

    def test_anomalies_are_learned_without_their_labels(self) -> None:
        """The label of an event only tests; the event itself, unlabelled, teaches."""
        log = make_log("half-space-trees", Task.ANOMALY, 60)
        learner = new_learner("half-space-trees", Task.ANOMALY)
        outcome = learner.absorb(log, range(60))
        n_unlabelled = sum(example.label is None for example in log)
        assert outcome.n_learned == learner.n_learned == n_unlabelled
        assert learner.metrics()["n"] == 60 - n_unlabelled

    @pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS, Task.REGRESSION])
    def test_what_was_never_scored_is_learned_and_not_tested(self, task: Task) -> None:
        """There is no prediction that it could be held against."""
        name = "linear-regression" if task is Task.REGRESSION else "hoeffding-tree"
        log = make_log(name, task, 40)
        unscored = [
            msgspec.structs.replace(e, score=None, version=None, model_position=None)
            if i % 4
            else e
            for i, e in enumerate(log)
        ]
        learner, tested = new_learner(name, task), new_learner(name, task)
        assert learner.absorb(unscored, list(range(40))).n_learned == 40
        tested.absorb(log[::4], list(range(10)))
        assert learner.metrics() == tested.metrics()
        assert learner.metrics()["n"] == 10

    def test_a_weight_of_nothing_teaches_nothing(self) -> None:
        """River's trees would divide by it."""
        log = [
            msgspec.structs.replace(example, weight=0.0)
            for example in make_log("hoeffding-tree", Task.BINARY, 20)
        ]
        learner = new_learner("hoeffding-tree", Task.BINARY)
        assert learner.absorb(log, range(20)).n_learned == 0
        assert learner.metrics()["n"] == 20


class TestFingerprint:
    """Equal states, equal fingerprints; and the other way round, almost surely."""

    def test_an_untrained_learner_has_one_that_depends_on_its_pipeline(self) -> None:
        """A defined constant, not a failure."""
        learners = [
            Learner(build(name, Task.BINARY, seed), Task.BINARY)
            for name, seed in (("logistic", 1), ("logistic", 2), ("gaussian-nb", 1))
        ]
        first, same, other = (learner.fingerprint() for learner in learners)
        assert first == same != other

    @pytest.mark.parametrize("missing", [0, 63, 64, 150, 239])
    def test_one_example_less_is_another(self, missing: int) -> None:
        """Anywhere in the log."""
        log = make_log("logistic", Task.BINARY, N)
        whole, less = (new_learner("logistic", Task.BINARY) for _ in range(2))
        absorb_in(whole, log, range(N), [50])
        absorb_in(less, log[:missing] + log[missing + 1 :], range(N - 1), [50])
        assert whole.fingerprint() != less.fingerprint()

    def test_probes_are_the_first_and_then_one_for_each_doubling(self) -> None:
        """Few enough to be cheap, recent enough to be telling, and chosen by the log alone."""
        log = make_log("gaussian-nb", Task.BINARY, 300)
        learner = new_learner("gaussian-nb", Task.BINARY)
        absorb_in(learner, log, range(300), [7])
        kept = [*range(64), 127, 255]
        assert learner._probes == [log[i].features for i in kept]


def test_a_learner_remembers_its_pipeline_as_it_was_built() -> None:
    """A forest overwrites its own parameters; its hash must not follow."""
    pipeline: base.Estimator = build("adaptive-random-forest", Task.BINARY, seed=11)
    learner = Learner(copy.deepcopy(pipeline), Task.BINARY)
    fresh = learner.pipeline_hash
    learner.absorb(make_log("adaptive-random-forest", Task.BINARY, 30), range(30))
    assert Learner.load(learner.dump()).pipeline_hash == fresh
