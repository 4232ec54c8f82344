"""The vault on both stores: wherever a stored version was changed, the one before is loaded."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.learner import Learner
from models.sealing import KeyRing
from models.stores.base import Store
from stream.vault import RefusedVersion, Vault
from tests.contract.test_stores import run  # noqa: F401 - a fixture
from tests.unit.models.test_sealing import commanding, seal
from tests.unit.test_vault import RING, version

N_POSITIONS = 60


async def at_once(work: Callable[[], Learner]) -> Learner:
    return work()


def vault_of(store: Store, told: list[RefusedVersion], keys: KeyRing | None = RING) -> Vault:
    return Vault(store, keys=keys, trusted=(), in_background=at_once, tell=told.append)


async def with_two_versions(store: Store) -> None:
    lease = await store.acquire("learn.0")
    for n in (10, 20):
        data, blob = version(n)
        await store.cut_version(lease, n, f"v1-{n}", data, blob, 5)


def test_a_bit_flipped_anywhere_in_the_store_is_refused(run: Any) -> None:  # noqa: F811
    """In the metadata and in the state; put back, the version is good again."""

    async def body(store: Store) -> None:
        await with_two_versions(store)
        data, blob = await store.read_version("v1-20")
        rng = random.Random(3)
        told: list[RefusedVersion] = []
        for i in range(N_POSITIONS):
            both = [bytearray(data), bytearray(blob)]
            part = both[i % 2]
            part[rng.randrange(len(part))] ^= 1 << rng.randrange(8)
            await store.restore_version("v1-20", *map(bytes, both))
            found = await vault_of(store, told).newest_good(await store.newest_version())
            assert found is not None
            assert found[1] == "v1-10"
        assert [refused.version_id for refused in told] == ["v1-20"] * N_POSITIONS
        await store.restore_version("v1-20", data, blob)
        found = await vault_of(store, told).newest_good("v1-20")
        assert found is not None
        assert found[0].position == 20

    run(body)


def test_a_stored_command_is_not_run(run: Any, tmp_path: Path) -> None:  # noqa: F811
    """Neither with keys nor without: the version before it is loaded."""

    async def body(store: Store) -> None:
        await with_two_versions(store)
        file = tmp_path / "was-here"
        meta, blob = commanding(file)
        for keys in (RING, None):
            told: list[RefusedVersion] = []
            await store.restore_version("v1-20", seal(meta, blob, keys), blob)
            found = await vault_of(store, told, keys).newest_good("v1-20")
            assert found is not None
            assert found[1] == "v1-10"
            assert len(told) == 1
        assert not file.exists()

    run(body)
