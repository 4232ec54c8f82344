"""What the settings of labels refuse: each would mean something that can't be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stream.settings import Settings

EVENT: dict[str, Any] = {"id": "id", "features": {"amount": {}, "kind": {"type": "category"}}}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"join": {"ttl": "7d", "negative_after": "7d"}}, "must be below ttl"),
        ({"join": {"negative_weight": 0}}, "greater than 0"),
        (
            {"join": {"negative_after": "1d"}, "model": {"task": "regression"}},
            "for binary tasks, and model.task is regression",
        ),
        (
            {"label": {"features": True}, "model": {"task": "anomaly"}},
            "makes no sense with model.task anomaly",
        ),
        ({"label": {"features": True, "value": "kind"}}, "'kind' can't be both a feature"),
        ({"label": {"features": True, "weight": "amount"}}, "'amount' can't be both a feature"),
        ({"label": {"corrections": "ignore"}}, "'learn' or 'refuse'"),
        ({"label": {"weight": "w", "weight_max": 0}}, "greater than 0"),
    ],
)
def test_what_can_not_be_is_refused(sections: dict[str, Any], message: str) -> None:
    """At the start, with the key and the reason."""
    with pytest.raises(ValidationError, match=message):
        Settings(event=EVENT, **sections)


def test_what_can_be_is_taken() -> None:
    """A label may share a field's name with a feature that it can't carry."""
    join = {"ttl": "7d", "negative_after": "6d", "negative_weight": 0.1}
    settings = Settings(event=EVENT, label={"value": "kind", "weight": "w"}, join=join)
    assert settings.join.negative_after == 6 * 86_400
    assert Settings(event=EVENT).join.negative_after == 0
    assert Settings(event=EVENT).label.corrections == "learn"
