"""Arms for tests: without a worker around them."""

from __future__ import annotations

from collections.abc import Callable

from models.stores.base import Store
from stream.arms import Arms
from stream.vault import Restored, Vault


def make_arms(store: Store, now: Callable[[], float] = lambda: 0.0) -> Arms:
    """Give arms of which none is in force, stale after ten seconds."""
    vault = Vault(store, keys=None, trusted=(), in_background=at_once, tell=lambda refused: None)
    return Arms(store, vault, in_background=at_once, now=now, staleness_max=10.0)


async def at_once(work: Callable[[], Restored]) -> Restored:
    """Do it now."""
    return work()
