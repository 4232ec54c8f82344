"""River transformers for entities: what is known of this card, this terminal, this user.

They differ from River's `Agg` and `TargetAgg` in two ways that matter here. Reading never writes:
an entity that is only ever scored and never learned takes no memory, and scoring cannot change
the fold. And an entity costs one or two numbers, so memory is bounded by the entities learned.

Those that learn inherit from `Transformer` besides `SupervisedTransformer`: by the latter alone,
River's pipeline takes a step for its last one while learning, and hands the steps after it
untransformed features.
"""

from __future__ import annotations

from typing import Any

from river import base

from models.types import Features

_RATIO_MAX = 1e9


class EntityRate(base.SupervisedTransformer, base.Transformer):
    """The recent rate of positives among an entity's own labels.

    The rate fades: with `fading=0.3` the last three labels of an entity weigh two thirds. It starts
    at zero, so an unknown entity looks like an innocent one. A rate of a rare class is tiny:
    scale it before a linear model.

    Parameters
    ----------
    entity
        Feature that names the entity.
    fading
        Weight of the newest label.

    Examples
    --------
    >>> rate = EntityRate("terminal", fading=0.5)
    >>> rate.learn_one({"terminal": "t1"}, True)
    >>> rate.learn_one({"terminal": "t1"}, True)
    >>> rate.transform_one({"terminal": "t1"}), rate.transform_one({"terminal": "t2"})
    ({'terminal_rate': 0.75}, {'terminal_rate': 0.0})
    """

    def __init__(self, entity: str, fading: float) -> None:
        self.entity = entity
        self.fading = fading
        self._name = f"{entity}_rate"
        self._rates: dict[Any, float] = {}

    def learn_one(self, x: Features, y: Any) -> None:  # type: ignore[override]
        """Move the rate of the entity towards its newest label."""
        entity = x.get(self.entity)
        rate = self._rates.get(entity, 0.0)
        self._rates[entity] = rate + self.fading * (y - rate)

    def transform_one(self, x: Features) -> dict[str, float]:  # type: ignore[override]
        """Return the rate of the entity."""
        return {self._name: self._rates.get(x.get(self.entity), 0.0)}


class UsualRatio(base.SupervisedTransformer, base.Transformer):
    """A number beside what is usual for its entity: `value / mean of the entity's negatives`.

    Positives are left out of the mean, or a fraudster would make his own amounts usual. It is 1,
    usual, until the entity has `n_min` negatives. The number itself is passed on as well.

    Parameters
    ----------
    value
        Feature to compare.
    entity
        Feature that names the entity.
    n_min
        Negatives that make a habit.

    Examples
    --------
    >>> ratio = UsualRatio("amount", "card", n_min=2)
    >>> for amount, fraud in ((10.0, False), (900.0, True), (30.0, False)):
    ...     ratio.learn_one({"amount": amount, "card": "c1"}, fraud)
    >>> ratio.transform_one({"amount": 60.0, "card": "c1"})
    {'amount': 60.0, 'amount_ratio': 3.0}
    >>> ratio.transform_one({"amount": 60.0, "card": "c2"})
    {'amount': 60.0, 'amount_ratio': 1.0}
    """

    def __init__(self, value: str, entity: str, n_min: int = 3) -> None:
        self.value = value
        self.entity = entity
        self.n_min = n_min
        self._name = f"{value}_ratio"
        self._means: dict[Any, tuple[int, float]] = {}

    def learn_one(self, x: Features, y: Any) -> None:  # type: ignore[override]
        """Move the mean of the entity, if the example is a negative."""
        if y or self.value not in x:
            return
        entity = x.get(self.entity)
        n, mean = self._means.get(entity, (0, 0.0))
        self._means[entity] = (n + 1, mean + (float(x[self.value]) - mean) / (n + 1))

    def transform_one(self, x: Features) -> dict[str, float]:  # type: ignore[override]
        """Return the number and its ratio; nothing of a number that is missing."""
        if self.value not in x:
            return {}
        value = float(x[self.value])
        n, mean = self._means.get(x.get(self.entity), (0, 0.0))
        ratio = value / mean if n >= self.n_min and mean > 0.0 else 1.0
        # What is divided by next to nothing must not drown all that a scaler sees after it.
        ratio = max(-_RATIO_MAX, min(_RATIO_MAX, ratio))
        return {self.value: value, self._name: ratio}


class EntityPast(base.Transformer):
    """What the configuration derives of entities' pasts: passed on as it is, the rest left out.

    Such features are named after their entity, `card.count.1d`. Where none is configured, there
    is nothing to pass on.

    Parameters
    ----------
    entities
        Features that name entities.

    Examples
    --------
    >>> past = EntityPast(("card",))
    >>> past.transform_one({"card": "c1", "card.count.1d": 3, "amount": 5.0})
    {'card.count.1d': 3}
    """

    def __init__(self, entities: tuple[str, ...]) -> None:
        self.entities = entities
        self._prefixes = tuple(f"{entity}." for entity in entities)

    def transform_one(self, x: dict[Any, Any]) -> dict[Any, Any]:
        """Return the features of these entities' pasts."""
        prefixes = self._prefixes
        return {name: value for name, value in x.items() if name.startswith(prefixes)}
