"""What is known of entities: learned in `learn_one` only, bounded by the entities learned."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import pickling
from models.pipelines import build
from models.transformers import EntityPast, EntityRate, UsualRatio
from models.types import Task

TRANSFORMERS = (EntityRate("card", fading=0.3), UsualRatio("amount", "card"))


@pytest.mark.parametrize("original", TRANSFORMERS, ids=lambda each: type(each).__name__)
def test_reading_never_writes(original: EntityRate | UsualRatio) -> None:
    """A million strangers scored take no memory, and so cannot change what is learned."""
    transformer = original.clone()
    for i in range(30):
        transformer.learn_one({"card": f"c{i % 3}", "amount": float(i)}, i % 5 == 0)
    before = pickling.dumps(transformer)
    for i in range(100):
        transformer.transform_one({"card": f"stranger{i}", "amount": 1.0})
    transformer.transform_one({})
    assert pickling.dumps(transformer) == before


@given(st.lists(st.booleans(), max_size=50))
def test_a_rate_is_the_fading_mean_of_its_labels(labels: list[bool]) -> None:
    """Between 0 and 1, and of its own entity alone."""
    rate = EntityRate("card", fading=0.3)
    for label in labels:
        rate.learn_one({"card": "mine"}, label)
        rate.learn_one({"card": "other"}, not label)
    n = len(labels)
    expected = sum(0.3 * 0.7 ** (n - 1 - i) for i, label in enumerate(labels) if label)
    assert rate.transform_one({"card": "mine"})["card_rate"] == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0.01, 1e4), st.booleans()), max_size=50))
def test_usual_is_the_mean_of_the_negatives(payments: list[tuple[float, bool]]) -> None:
    """Frauds do not make themselves usual."""
    ratio = UsualRatio("amount", "card", n_min=3)
    for amount, fraud in payments:
        ratio.learn_one({"card": "mine", "amount": amount}, fraud)
    genuine = [amount for amount, fraud in payments if not fraud]
    expected = 100.0 * len(genuine) / sum(genuine) if len(genuine) >= 3 else 1.0
    said = ratio.transform_one({"card": "mine", "amount": 100.0})
    assert said == {"amount": 100.0, "amount_ratio": pytest.approx(expected)}


def test_a_missing_number_is_no_number() -> None:
    """Neither learned as zero nor shown as one."""
    ratio = UsualRatio("amount", "card")
    ratio.learn_one({"card": "mine"}, False)
    assert ratio.transform_one({"card": "mine"}) == {}


def test_the_past_of_other_entities_is_left_out() -> None:
    """What is named after the entity, not what begins with the same letters."""
    past = EntityPast(("card", "shop"))
    derived = {"card.count.1d": 2, "shop.risk.7d": 0.5}
    others = {"card": "c1", "card_rate": 0.1, "cardholder.count.1d": 9, "time.night": 1}
    assert past.transform_one({**others, **derived}) == derived
    assert past.transform_one(others) == {}


def test_the_fraud_pipeline_learns_from_windows_and_without() -> None:
    """They reach its weights where they are configured, and are not asked for elsewhere."""
    payment = {"TX_AMOUNT": 5.0, "CUSTOMER_ID": "c1", "TERMINAL_ID": "t1"}
    plain: Any = build("fraud", Task.BINARY, seed=1)
    windowed: Any = build("fraud", Task.BINARY, seed=1)
    for i in range(500):
        fraud = i % 5 == 0
        paid = {**payment, "TX_AMOUNT": 5.0 + i % 3}
        plain.learn_one(paid, fraud)
        windowed.learn_one({**paid, "CUSTOMER_ID.count.1d": 9 if fraud else 1}, fraud)
    often, once = (
        windowed.predict_proba_one({**payment, "CUSTOMER_ID.count.1d": n})[True] for n in (9, 1)
    )
    assert often > 2 * once
    assert plain.predict_proba_one({**payment, "CUSTOMER_ID.count.1d": 9})[True] < often
