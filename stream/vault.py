"""Stored versions as a worker gets at them: verified before use, sealed before they are stored.

Why one place for the learn lane and for the scorer: both have to fall back to the previous good
version, and a version that is refused is told once by a worker, however often it is looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple, TypeAlias

from models import checkpoint, sealing
from models.checkpoint import VersionMeta
from models.errors import CheckpointCorrupt, Refusal, UnknownVersion
from models.learner import Learner
from models.sealing import KeyRing
from models.stores.base import VersionStore

Restored: TypeAlias = tuple[VersionMeta, Learner]
Background = Callable[[Callable[[], Restored]], Awaitable[Restored]]
"""Runs a function where it does not keep the lanes waiting: `asyncio.to_thread`."""

LOST = "has lost its content"


class RefusedVersion(NamedTuple):
    """A stored version that is not used, and why."""

    version_id: str
    reason: Refusal
    detail: str


class GoodVersion(NamedTuple):
    """A version that verified, restored."""

    learner: Learner
    version_id: str
    meta: VersionMeta


class Verdict(NamedTuple):
    """What is known of a stored version, and whether it would be used.

    `meta` is None where it can't be read, `key` where it is not signed, `refusal` where nothing
    speaks against the version. Of a refused version nothing else is proven.
    """

    version_id: str
    meta: VersionMeta | None
    key: str | None
    refusal: CheckpointCorrupt | None


def examine(
    version_id: str,
    data: bytes,
    blob: bytes,
    keys: KeyRing | None,
    *,
    trusted: Collection[str] | None = None,
) -> Verdict:
    """Check a stored version; without `trusted` modules all that can be without loading it."""
    try:
        meta, key = checkpoint.peek(data)
    except CheckpointCorrupt:
        meta, key = None, None  # `unseal` finds the same, and says of which version.
    try:
        meta, key = checkpoint.unseal(data, blob, keys, version_id=version_id)
        if trusted is None:
            checkpoint.check_blob(meta, blob)
        else:
            checkpoint.decode(meta, blob, trusted_modules=trusted)
    except CheckpointCorrupt as refusal:
        return Verdict(version_id, meta, key, refusal)
    return Verdict(version_id, meta, key, None)


class Vault:
    """Loads what verifies, newest first, and remembers what does not.

    Parameters
    ----------
    keys
        What versions are signed with and have to be signed by; None: neither.
    trusted
        Modules of the configured pipeline, whose names a state may hold.
    tell
        Told of each refused version, once.
    """

    def __init__(
        self,
        store: VersionStore,
        *,
        keys: KeyRing | None,
        trusted: Collection[str],
        in_background: Background,
        tell: Callable[[RefusedVersion], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._trusted = trusted
        self._in_background = in_background
        self._tell = tell
        # With the metadata that was refused (None: it was not there): a version that is rebuilt in
        # its place has other metadata, and is tried again.
        self._refused: dict[str, bytes | None] = {}

    def seal(self, meta: VersionMeta, blob: bytes) -> bytes:
        """Write the metadata as it is stored, signed if there is a key."""
        return checkpoint.seal(meta, blob, self._keys)

    def seal_record(self, body: bytes, blob: bytes) -> bytes:
        """Seal a record of ours together with the state that it is about."""
        return sealing.seal(body, blob, self._keys)

    def unseal_record(self, data: bytes, blob: bytes) -> bytes:
        """Check a sealed record; raises `CheckpointCorrupt`."""
        return sealing.unseal(data, blob, self._keys)[0]

    def restore(self, version_id: str, data: bytes, blob: bytes) -> Restored:
        """Restore a learner that is no stored version; raises `CheckpointCorrupt`."""
        return self._restore(version_id, data, blob)

    def has_refused(self, version_id: str) -> bool:
        """Say whether what was stored under that id did not verify when it was last read."""
        return version_id in self._refused

    async def newest_good(
        self, newest: str | None, in_force: str | None = None
    ) -> GoodVersion | None:
        """Load the newest version that verifies; None if there is none after the one in force.

        `newest` is tried first, then all others in their order.
        """
        first = [] if newest is None else [newest]
        rest = [other for other in await self._store.version_ids() if other != newest]
        self._refused = {k: v for k, v in self._refused.items() if k in (*first, *rest)}
        for version_id in (*first, *rest):
            if version_id == in_force:
                return None
            good = await self._load(version_id)
            if good is not None:
                return good
        return None

    async def load(self, version_id: str) -> GoodVersion:
        """Load the version that is asked for.

        Raises
        ------
        UnknownVersion
            When there is none; the message says which exist.
        CheckpointCorrupt
            When it does not verify; the message says why.
        """
        data, blob = await self._store.read_version(version_id)
        meta, learner = await self._in_background(lambda: self._restore(version_id, data, blob))
        return GoodVersion(learner, version_id, meta)

    async def _load(self, version_id: str) -> GoodVersion | None:
        try:
            known = self._refused.get(version_id)
            if known is not None and known == await self._store.read_meta(version_id):
                return None
            data, blob = await self._store.read_version(version_id)
        except UnknownVersion:
            # Retention may have dropped it since it was listed; what is still listed is torn.
            named = [await self._store.newest_version(), *await self._store.version_ids()]
            if version_id in named:
                lost = checkpoint.refusal(version_id, LOST, Refusal.MISSING)
                self._refuse(version_id, None, lost.reason, str(lost))
            return None
        try:
            meta, learner = await self._in_background(lambda: self._restore(version_id, data, blob))
        except CheckpointCorrupt as error:
            self._refuse(version_id, data, error.reason, str(error))
            return None
        self._refused.pop(version_id, None)
        return GoodVersion(learner, version_id, meta)

    def _restore(self, version_id: str, data: bytes, blob: bytes) -> Restored:
        return checkpoint.restore(
            data, blob, self._keys, version_id=version_id, trusted_modules=self._trusted
        )

    def _refuse(self, version_id: str, data: bytes | None, reason: Refusal, detail: str) -> None:
        is_known = version_id in self._refused and self._refused[version_id] == data
        self._refused[version_id] = data
        if not is_known:
            self._tell(RefusedVersion(version_id, reason, detail))
