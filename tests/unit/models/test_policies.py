"""Policies: what each does to the model, and that it is a fold whatever the policy."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from benchmarks.policies import recoveries
from models import Example, Learner, Policy, PolicyStep, ResponseSettings, Task, build
from models.contest import losses, paired
from models.types import Score

N_EACH = 800
SETTINGS = {
    policy: ResponseSettings(policy=policy, bakeoff_n=60, every_n=500, window_n=600)
    for policy in Policy
}
TASKS = {
    Task.BINARY: "logistic",
    Task.MULTICLASS: "softmax",
    Task.REGRESSION: "linear-regression",
}


def new_learner(policy: Policy, task: Task = Task.BINARY, pipeline: str | None = None) -> Learner:
    """Build a fresh learner that responds by a policy."""
    name = pipeline or TASKS[task]
    return Learner(build(name, task, seed=3), task, response=SETTINGS[policy], rolling_n=50)


def truth_of(task: Task, x: float, turned: bool) -> Any:
    """Make a truth that turns around with the concept."""
    x = -x if turned else x
    match task:
        case Task.MULTICLASS:
            return "high" if x > 0 else "low"
        case Task.REGRESSION:
            return x
        case _:
            return x > 0


def make_log(concepts: str, task: Task = Task.BINARY) -> list[Example]:
    """Make examples of one concept after the other ("ABA"), with the scores of a frozen model.

    Scores are right under A, with noise: the drift watch sees only these.
    """
    rng = random.Random(5)
    log = []
    for i in range(N_EACH * len(concepts)):
        x = rng.gauss(0.0, 1.0)
        truth = truth_of(task, x, concepts[i // N_EACH] == "B")
        guess = truth_of(task, x + rng.gauss(0.0, 0.2), turned=False)
        score: Score = guess if task is Task.REGRESSION else float(guess is True)
        if task is Task.MULTICLASS:
            score = {str(guess): 0.9, "other": 0.1}
        log.append(
            Example(
                event_id=f"e{i}", features={"x": x, "y": rng.random()}, label=truth,
                score=score,  # type: ignore[arg-type]
                version="v1-0", model_position=0, event_time=float(i), label_time=float(i),
                origin="labels/0", offset=i, floor=i, weight=0.5 if i % 11 == 0 else 1.0,
            )
        )  # fmt: skip
    return log


def with_score(example: Example, score: float) -> Example:
    """Let the model have said something else."""
    return msgspec.structs.replace(example, score=score)


def fold(learner: Learner, log: list[Example], size: int, crash: bool = False) -> list[PolicyStep]:
    """Absorb a log in batches, with a crash and a restore after each if asked for."""
    steps = []
    for start in range(0, len(log), size):
        batch = log[start : start + size]
        steps += learner.absorb(batch, range(start, start + len(batch))).steps
        if crash:
            learner.__setstate__(Learner.load(learner.dump()).__getstate__())
    return steps


def accuracy(learner: Learner, log: list[Example]) -> float:
    """Say how often the learner, as it is, would be right."""
    scores = learner.score_many([example.features for example in log])
    return sum((s >= 0.5) == e.label for s, e in zip(scores, log, strict=True)) / len(log)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("policy", Policy)
def test_any_batching_and_any_crash_give_the_same(policy: Policy, task: Task) -> None:
    """Steps, predictions, and what is to come: the whole state goes through a checkpoint."""
    log = make_log("AB", task)
    whole, pieces, crashed = (new_learner(policy, task) for _ in range(3))
    steps = fold(whole, log, len(log))
    assert fold(pieces, log, 7) == steps
    assert fold(crashed, log, 131, crash=True) == steps
    assert whole.fingerprint() == pieces.fingerprint() == crashed.fingerprint()
    assert bool(steps) == (policy is not Policy.ALERT)


@pytest.mark.parametrize("policy", [Policy.RESET, Policy.RETRAIN, Policy.RECALL, Policy.ROLLING])
def test_forests_that_start_over_are_not_changed_by_what_they_score(policy: Policy) -> None:
    """A forest sets itself up at what it first sees, which has to be the log."""
    log = make_log("AB")
    quiet, asked = (new_learner(policy, pipeline="adaptive-random-forest") for _ in range(2))
    for start in range(0, len(log), 16):
        batch, offsets = log[start : start + 16], range(start, start + 16)
        quiet.absorb(batch, offsets)
        asked.absorb(batch, offsets)
        asked.score_many([{"z": 1.0}, {"x": 0.5, "y": 0.5}])
    assert quiet.fingerprint() == asked.fingerprint()


def test_reset_starts_over_with_what_came_since_the_change() -> None:
    """What it knows after is what a fresh learner knows of the examples since then."""
    log = make_log("AB")
    learner = new_learner(Policy.RESET)
    steps = fold(learner, log, len(log))
    assert [step.step for step in steps] == ["reset"]
    cause = steps[0].cause
    assert cause is not None
    assert cause.since is not None
    assert N_EACH - 40 < cause.since < cause.position == steps[0].position
    fresh = new_learner(Policy.ALERT)
    rest = log[cause.since :]
    fresh.absorb(rest, [example.offset for example in rest])
    probes = [example.features for example in log[:100]]
    assert learner.score_many(probes) == fresh.score_many(probes)


def test_a_reset_for_nothing_is_taken_back() -> None:
    """Scores went wrong and the model had not: the old one returns, as if nothing had been."""
    log = [
        with_score(e, 1.0 - float(e.label is True)) if i >= N_EACH else e
        for i, e in enumerate(make_log("AA"))
    ]
    learner, undisturbed = new_learner(Policy.RESET), new_learner(Policy.ALERT)
    steps = fold(learner, log, 33)
    undisturbed.absorb(log, range(len(log)))
    assert [step.step for step in steps] == ["reset", "returned"]
    assert steps[1].position >= steps[0].position + 2 * SETTINGS[Policy.RESET].bakeoff_n
    assert learner.fingerprint() == undisturbed.fingerprint()


def test_retrain_swaps_when_the_background_learner_wins() -> None:
    """The swap comes after the comparison, with its evidence and its cause."""
    log = make_log("AB")
    learner = new_learner(Policy.RETRAIN)
    steps = fold(learner, log, len(log))
    assert [step.step for step in steps] == ["started", "swapped"]
    started, swapped = steps
    assert started.step == "started"
    assert swapped.position >= started.position + 2 * SETTINGS[Policy.RETRAIN].bakeoff_n
    assert swapped.cause is not None
    assert swapped.cause.since == pytest.approx(N_EACH, abs=40)
    stubborn = new_learner(Policy.ALERT)
    stubborn.absorb(log, range(len(log)))
    assert accuracy(learner, log[-200:]) > accuracy(stubborn, log[-200:])


def test_retrain_discards_what_is_not_better() -> None:
    """Errors that are only in the scores: the model itself is as good as ever."""
    log = [
        with_score(e, 1.0 - float(e.label is True)) if i >= N_EACH else e
        for i, e in enumerate(make_log("AA"))
    ]
    learner, undisturbed = new_learner(Policy.RETRAIN), new_learner(Policy.ALERT)
    steps = fold(learner, log, len(log))
    undisturbed.absorb(log, range(len(log)))
    assert [step.step for step in steps][-1] == "discarded"
    assert learner.fingerprint() == undisturbed.fingerprint()


def test_recall_brings_the_model_of_a_concept_that_recurs_back() -> None:
    """The past model answers as it did before the change, as soon as the drift is confirmed."""
    # Scores of a model that follows each change late: drift is seen at both.
    stale = range(N_EACH + 200, 2 * N_EACH + 100)
    log = [
        with_score(e, float((float(e.features["x"]) > 0) != (i in stale)))
        for i, e in enumerate(make_log("ABA"))
    ]
    learner = new_learner(Policy.RECALL)
    steps = fold(learner, log, 50)
    recalled = [step for step in steps if step.step == "recalled"]
    assert len(recalled) == 1
    assert 2 * N_EACH < recalled[0].position < 2 * N_EACH + 120
    assert accuracy(learner, log[-200:]) > 0.95


def test_recall_recovers_in_a_third_of_what_reset_needs() -> None:
    """Two concepts in turn: the examples until it is as good as when the concept went."""
    recall, reset = (
        sum(recoveries(policy, "logistic", seed=1)) for policy in (Policy.RECALL, Policy.RESET)
    )
    assert recall <= reset / 3


def test_rolling_has_learned_the_last_examples_only() -> None:
    """At each half window the older learner goes; what is left began half a window before."""
    log = make_log("AB")[: 2 * 600]
    learner = new_learner(Policy.ROLLING)
    steps = fold(learner, log, 100)
    assert [step.position for step in steps] == [599, 899, 1199]
    assert {step.cause for step in steps} == {None}
    fresh = new_learner(Policy.ALERT)
    fresh.absorb(log[900:], range(900, 1200))
    probes = [example.features for example in log[:100]]
    assert learner.score_many(probes) == fresh.score_many(probes)


def test_schedule_compares_at_every_period() -> None:
    """A background learner starts and is judged, drift or not."""
    log = make_log("AA")
    steps = fold(new_learner(Policy.SCHEDULE), log, 64)
    assert [step.step for step in steps if step.position < 1_499] == [
        "started", "discarded", "started", "discarded",
    ]  # fmt: skip
    assert [step.position for step in steps][:2] == [499, 499 + 120]


def test_improvement_is_answered_only_if_asked_for() -> None:
    """A model that got better is not replaced for it."""
    log = [
        with_score(e, float((e.label is True) == (i >= N_EACH)))
        for i, e in enumerate(make_log("AA"))
    ]
    for two_sided in (False, True):
        settings = ResponseSettings(policy=Policy.RESET, two_sided=two_sided)
        pipeline = build("logistic", Task.BINARY, seed=3)
        learner = Learner(pipeline, Task.BINARY, response=settings)
        outcome = learner.absorb(log, range(len(log)))
        assert {signal.direction for signal in outcome.drifts} == {"improved"}
        assert bool(outcome.steps) == two_sided
        acted = [signal for signal in outcome.drifts if signal.action != "none"]
        assert bool(acted) == two_sided


def test_losses_are_those_of_the_labels_that_are_there() -> None:
    """Half of what an unsupervised model learns has no label: it is not compared."""
    log = make_log("A")[:4]
    unlabelled = [msgspec.structs.replace(example, label=None) for example in log]
    learner = new_learner(Policy.ALERT)
    assert losses(learner, [log[0], *unlabelled]) == [0.25]
    assert paired([]) == paired([1.0]) == paired([0.0, 0.0]) == (0.0, 0.0)
    assert paired([1.0, 1.0]) == (1.0, float("inf"))
