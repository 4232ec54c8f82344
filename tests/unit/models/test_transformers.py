"""What is known of entities: learned in `learn_one` only, bounded by the entities learned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import pickling
from models.transformers import EntityRate, UsualRatio

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
