"""Rules of decision: a budget of alerts is kept, by the log alone."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
import pytest

from models import AlertsAnHour, AlertShare, ExpectedCost, Learner, Task, build
from models.thresholds import BudgetKeeper, ThresholdRule, problem_with
from models.types import Example

N = 6_000


def example(i: int, score: float) -> Example:
    """Make an example of an event that comes every 36 seconds: a hundred an hour."""
    return Example(
        f"e{i}", {"x": score}, score > 0.7, score, "v1-0", 1, i * 36.0, i * 36.0, "labels/0", i, i
    )


def examples(seed: int = 1) -> list[Example]:
    """Make examples whose scores double half-way."""
    rng = random.Random(seed)
    return [example(i, rng.betavariate(1, 9) * (1 if i < N / 2 else 2) / 2) for i in range(N)]


def learner(budget: AlertShare | AlertsAnHour) -> Learner:
    """Make a learner that keeps a budget."""
    return Learner(build("logistic", Task.BINARY, 1), Task.BINARY, budget=budget)


def fold(budget: AlertShare | AlertsAnHour, cuts: list[int]) -> tuple[list[float], Learner]:
    """Give the threshold at each example, absorbed in batches that end at the cuts."""
    log, one = examples(), learner(budget)
    thresholds: list[float] = []
    for start, end in pairwise([0, *cuts, N]):
        thresholds += [one.threshold] * (end - start)
        one.absorb(log[start:end], range(start, end))
    return thresholds, one


@pytest.mark.parametrize("budget", [AlertShare(0.02, 1_000), AlertsAnHour(2.0, 1_000)])
def test_a_budget_is_kept_also_when_scores_shift(budget: AlertShare | AlertsAnHour) -> None:
    """Two of a hundred events an hour: by share or by the hour, it is the same."""
    thresholds, _ = fold(budget, list(range(1, N)))
    scores = [one.score for one in examples()]
    for start, end in ((1_000, 3_000), (5_000, 6_000)):
        n = sum(scores[i] >= thresholds[i] for i in range(start, end))  # type: ignore[operator]
        assert 0.012 <= n / (end - start) <= 0.026, (start, n)
    assert thresholds[5_500] > 1.5 * thresholds[2_500]


def test_the_threshold_moves_with_the_log_and_not_with_its_batches() -> None:
    """Nor by a restart: metrics and state are those of one fold."""
    budget = AlertShare(0.02, 1_000)
    _, one = fold(budget, [])
    _, other = fold(budget, [1, 9, 10, 11, 700, 2_345])
    half = learner(budget)
    half.absorb(examples()[:1_234], range(1_234))
    restored = Learner.load(half.dump())
    restored.absorb(examples()[1_234:], range(1_234, N))
    for again in (other, restored):
        assert again.threshold == one.threshold != 0.5
        assert again.metrics() == one.metrics()
    assert one.metrics()["total"]["threshold"] == one.threshold


def test_a_score_that_is_too_common_alerts_on_nothing() -> None:
    """A budget is a limit: ties at the top can't all have it."""
    keeper = BudgetKeeper(AlertShare(0.01, 1_000))
    keeper.add([1.0, 0.2] * 5, [0.0] * 10, 10)
    assert keeper.threshold is not None
    assert keeper.threshold > 1.0


def test_an_hour_needs_time_to_pass() -> None:
    """Without event times that differ there is no rate, and the threshold stays."""
    keeper = BudgetKeeper(AlertsAnHour(5.0, 1_000))
    keeper.add([0.5] * 10, [7.0] * 10, 10)
    assert keeper.threshold is None
    keeper.add([0.5] * 10, [7.0 + 3600.0] * 10, 10)
    assert keeper.threshold is not None


def test_a_state_without_a_budget_is_as_it_was() -> None:
    """Off, nothing is added: older releases read it."""
    plain = Learner(build("logistic", Task.BINARY, 1), Task.BINARY)
    assert "_keeper" not in plain.__dict__
    assert Learner.load(plain.dump()).budget is None


@pytest.mark.parametrize(
    ("rule", "task", "problem"),
    [
        (0.5, Task.REGRESSION, "no alerts"),
        (AlertShare(0.1), Task.MULTICLASS, "no alerts"),
        (1.5, Task.BINARY, "1.5"),
        (ExpectedCost(1.0, 9.0), Task.ANOMALY, "no probabilities"),
        (ExpectedCost(1.0, 9.0), Task.BINARY, None),
        (AlertShare(0.1), Task.ANOMALY, None),
    ],
)
def test_rules_fit_their_task(rule: ThresholdRule, task: Task, problem: str | None) -> None:
    """What makes no sense is refused before it is in the fold."""
    found = problem_with(rule, task)
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize(
    "text",
    [
        '{"rule":"share","share":1.0}',
        '{"rule":"hourly","per_hour":0}',
        '{"rule":"cost","false_positive":-1,"false_negative":5}',
        '{"rule":"share","share":0.1,"window_n":5}',
        '{"rule":"best"}',
    ],
)
def test_a_senseless_rule_does_not_decode(text: str) -> None:
    """Neither from a command nor from a version's metadata."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=ThresholdRule)


def test_rules_are_written_with_their_name() -> None:
    """A plain threshold stays a number, as it was written before there were rules."""
    rules: list[ThresholdRule] = [0.8, AlertShare(0.01), AlertsAnHour(3.0), ExpectedCost(1.0, 2.0)]
    text = msgspec.json.encode(rules)
    assert text.startswith(b'[0.8,{"rule":"share","share":0.01,"window_n":50000},')
    assert msgspec.json.decode(text, type=list[ThresholdRule]) == rules
