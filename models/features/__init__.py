"""Features from memory: what an entity did in its last days, in event time, exactly.

A raw event says little: an amount alone finds one fraud in three. What tells more is the memory of
the card and of the terminal behind it. Here it is a fold, as the learner is: entity by entity, a
`History` holds the entity's events of the longest window as packed bytes, and `EntityFold` leads
events and label facts over them in the order of one log. So features are a function of the log,
whoever computes them and however often.

What is exact: everything. A window `(t - w, t]` is counted from the events themselves, to the last
float, for each entity's `events_max` newest ones; there are no buckets and no sketches. Distinct
values are told apart by 64-bit hashes. An event that its producer sends twice counts once.

Modules, from the ground up: `specs` say what is computed, `history` keeps an entity's past,
`windows` reads features off it, `calendar` off the clock, `fold` is the state of all entities.
"""

from models.features.calendar import CalendarFeatures
from models.features.fold import EntityFold, LabelFact, hash_of
from models.features.specs import EntitySpec, RiskSpec, Stat, WindowSpec

__all__ = [
    "CalendarFeatures",
    "EntityFold",
    "EntitySpec",
    "LabelFact",
    "RiskSpec",
    "Stat",
    "WindowSpec",
    "hash_of",
]
