"""The store in Redis: every step that must be atomic is one Lua script (`scripts`).

Keys, all in one hash slot through the `{app}` tag:

- `{app}:born`: the birth record; without it the store has lost what it held
- `{app}:lane:<lane>`: hash; `epoch`, `commits` in it, `position`, and the lane's state under
  `s:<key>`
- `{app}:watermarks`: hash of lane -> event time; idle lanes are absent
- `{app}:keyed:<lane>:<g>`: hash of a lane's keyed state; the lane's hash names them, `g:<g>`
- `{app}:pending:<g>` and `{app}:claims:<g>`: hashes of event id -> record, one pair a generation
- `{app}:generations`: set of the generations that exist
- `{app}:own:<g>` and `{app}:own-generations`: claims of labels that brought their own features
- `{app}:silent:<p>`: list of a partition's events, in order, that may yet become negatives, each
  its time, offset, generation and id; `{app}:unswept`: hash of how many hold a generation back
- `{app}:watermark-at-rest`: the latest event time of the score lanes that are idle
- `{app}:versions`: sorted set of version ids in order of cut; `{app}:version:<id>`: hash of meta
  and blob; `{app}:newest`: the id to load; `{app}:tags`: hash of tag -> version id

Why hashes a generation: one field costs about 60 bytes over its content, against 120 and more for
a key with an expiry of its own, and a whole generation is unlinked in one command. Why batches go
as one argument: the client packs each argument of a command in Python, at a microsecond and more.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import redis.asyncio
import redis.exceptions

from models.errors import (
    CheckpointConflict,
    CheckpointError,
    CheckpointLost,
    StoreRefused,
    StoreUnavailable,
)
from models.stores import claim_scripts, scripts
from models.stores import keyed as keyed_state
from models.stores.base import (
    GENERATIONS_PER_TTL,
    NO_CHANGES,
    Claims,
    KeyedChanges,
    Lease,
    NewClaim,
    NewPending,
    SettledClaim,
    Swept,
    generation_of,
)
from models.stores.packing import claimed, pack, pack_double, settled, state_arguments
from models.stores.shelf import RedisShelf

# What Redis answers while it can't serve: full, loading, a replica, its disk full.
_AWAY = (
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
)


_ALL_BUT_VERSIONS = (
    *("lane:*", "keyed:*", "watermarks", "watermark-at-rest", "fields"),
    *("pending:*", "claims:*", "generations", "own:*", "own-generations", "silent:*", "unswept"),
)


async def _once(attempt: Callable[[], Awaitable[Any]]) -> Any:
    return await attempt()


class RedisStore(RedisShelf):
    """Lanes, pending events and versions of one application in one Redis.

    Parameters
    ----------
    client
        An asyncio client that returns bytes; the store does not close it.
    app
        Name of the application: the prefix of every key.
    ttl
        Seconds of event time that a pending event is kept for; sets the generations' length.
    retry
        Does what it is given, and decides what becomes of a `StoreUnavailable`: by default it is
        raised. All that the store writes may be done twice, and late, without harm.

    Raises
    ------
    StoreUnavailable
        From every method, if Redis can't be reached or can't write now.
    StoreRefused
        From every method, if Redis does not know or allow what is asked.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        app: str,
        *,
        ttl: float,
        retry: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]] = _once,
    ) -> None:
        self._redis = client
        self._prefix = f"{{{app}}}:"
        self._ttl = ttl
        self._retry = retry
        self._scripts: dict[str, Any] = {}
        self._n_commits: dict[str, tuple[int, int]] = {}

    async def birth(self) -> bytes | None:
        """Give the birth record."""
        return cast("bytes | None", await self._call(self._redis.get, self._key("born")))

    async def bear(self, record: bytes) -> bytes:
        """Write the birth record if there is none; give the one in force."""
        await self._call(self._redis.setnx, self._key("born"), record)
        return cast(bytes, await self.birth())

    async def start_over(self, lanes: Iterable[str], epoch: int) -> None:
        """Drop everything but the versions, the birth record first."""
        await self._call(self._redis.delete, self._key("born"))
        for pattern in _ALL_BUT_VERSIONS:
            keys = await self._call(self._scan, self._key(pattern))
            for start in range(0, len(keys), 1000):
                await self._call(self._redis.unlink, *keys[start : start + 1000])
        self._n_commits.clear()  # Epochs may come again.
        for lane in lanes:
            await self._call(self._redis.hset, self._lane(lane), "epoch", str(epoch))

    async def acquire(self, lane: str) -> Lease:
        """Take the lane over: raise its epoch, and give its position and state."""
        flat = await self._run(scripts.ACQUIRE, [self._lane(lane), self._key("watermarks")], [lane])
        content = dict(zip(flat[::2], flat[1::2], strict=True))
        position = content.get(b"position")
        state = {k[2:].decode(): v for k, v in content.items() if k.startswith(b"s:")}
        return Lease(
            lane, int(content[b"epoch"]), None if position is None else int(position), state
        )

    async def commit(
        self,
        lease: Lease,
        position: int,
        changes: Mapping[str, bytes | None],
        watermark: float | None = None,
        keyed: KeyedChanges | None = None,
    ) -> None:
        """Write position, changed state (None deletes), watermark and keyed state at once."""
        mark = "" if watermark is None else repr(watermark)
        head = [lease.epoch, self._number(lease), position, lease.lane, mark]
        keys = [self._lane(lease.lane), self._key("watermarks")]
        if keyed is None:
            await self._fenced(lease, scripts.COMMIT, keys, [*head, *state_arguments(changes)])
            return
        floor = "" if keyed.floor is None else keyed.floor
        head += [self._keyed(lease), *keyed_state.packed(keyed.changes), floor]
        arguments = [*head, *state_arguments(changes)]
        await self._fenced(lease, scripts.COMMIT_KEYED, keys, arguments)

    async def read_keyed(self, lease: Lease, keys: Sequence[str]) -> dict[str, bytes]:
        """Give what the lane's keyed state holds of these keys."""
        arguments = [lease.epoch, self._keyed(lease), pack([key.encode() for key in keys])]
        flat = await self._fenced(lease, scripts.READ_KEYED, [self._lane(lease.lane)], arguments)
        return {keys[i]: content for i, content in zip(flat[::2], flat[1::2], strict=True)}

    async def rest(self, lease: Lease) -> None:
        """Say that the lane is idle: until its next commit it holds no watermark back."""
        keys = [self._lane(lease.lane), *self._keys("watermarks", "watermark-at-rest")]
        await self._fenced(lease, scripts.REST, keys, [lease.epoch, lease.lane])

    async def put_pending(
        self, lease: Lease, records: Sequence[NewPending], *, sweep: bool = False
    ) -> list[bytes | None]:
        """Store records of new ids; give None for each stored, else the record that was first."""
        items: list[bytes] = []
        for new in records:
            generation = b"%d" % generation_of(new.event_time, self._ttl)
            items += (generation, new.event_id.encode(), new.record)
        partition = lease.partition
        keys = [self._lane(lease.lane), *self._keys("generations", f"silent:{partition}")]
        arguments = [lease.epoch, self._key("pending:"), pack(items), partition if sweep else ""]
        there_before = await self._fenced(
            lease, scripts.PUT, [*keys, self._key("unswept")], arguments
        )
        found: list[bytes | None] = [None] * len(records)
        for place, first in zip(there_before[::2], there_before[1::2], strict=True):
            found[place] = first
        return found

    async def claim(
        self, lease: Lease, claims: Sequence[NewClaim], *, corrections: bool = True
    ) -> Claims:
        """Claim events for labels of one lane, in order."""
        items: list[bytes] = []
        with_own = any(new.own_time is not None for new in claims)
        for new in claims:
            limits = b"%b%d" % (pack_double(new.event_time_min), new.offset)
            items += (new.event_id.encode(), limits, new.truth.encode())
            if with_own:
                own = new.own_time
                items.append(b"" if own is None else b"%d" % generation_of(own, self._ttl))
        policy = "learn" if corrections else "refuse"
        head = [lease.epoch, self._prefix, lease.partition, policy]
        arguments = [*head, pack(items), 4 if with_own else 3]
        keys = [
            self._lane(lease.lane),
            *self._keys("generations", "own-generations", "watermarks"),
        ]
        flat, marks = await self._fenced(lease, claim_scripts.CLAIM, keys, arguments)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        lanes = zip(marks[::2], marks[1::2], strict=True)
        score_marks = [float(mark) for lane, mark in lanes if not lane.startswith(b"label.")]
        return Claims([claimed(*pair) for pair in pairs], min(score_marks, default=None))

    async def restore_claims(self, lease: Lease, claims: Sequence[SettledClaim]) -> None:
        """Write what the examples log says of claims; the later one of an event stands."""
        items: list[bytes] = []
        for claim in claims:
            generation = b"%d" % generation_of(claim.event_time, self._ttl)
            items += (claim.event_id.encode(), settled(claim), generation, b"%d" % claim.own)
        keys = [self._lane(lease.lane), *self._keys("generations", "own-generations")]
        arguments = [lease.epoch, self._prefix, pack(items)]
        await self._fenced(lease, claim_scripts.RESTORE_CLAIMS, keys, arguments)

    async def sweep_silent(self, lease: Lease, negative_after: float, limit: int) -> Swept:
        """Claim for silence the next of the lane's queued events that nobody labelled in time."""
        names = ("own-generations", "watermarks", "watermark-at-rest")
        queue = f"silent:{lease.partition}"
        keys = [self._lane(lease.lane), *self._keys(*names, queue, "unswept")]
        arguments = [lease.epoch, self._prefix, lease.partition, repr(negative_after), limit]
        flat, floor, last, more = await self._fenced(lease, scripts.SWEEP, keys, arguments)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        silent = [(event_id.decode(), record) for event_id, record in pairs]
        return Swept(silent, int(floor), int(last), bool(more))

    async def forget_silent(self, lease: Lease) -> None:
        """Empty the lane's queue: silence means nothing any more."""
        keys = [self._lane(lease.lane), *self._keys(f"silent:{lease.partition}", "unswept")]
        await self._fenced(lease, scripts.FORGET, keys, [lease.epoch, lease.partition])

    async def save_fields(self, fields_id: int, names: Sequence[str]) -> None:
        """Keep the feature names behind an id that pending records refer to."""
        await self._call(self._redis.hset, self._key("fields"), str(fields_id), json.dumps(names))

    async def load_fields(self) -> dict[int, list[str]]:
        """Give all feature names ever saved, by id."""
        saved = await self._call(self._redis.hgetall, self._key("fields"))
        return {int(fields_id): json.loads(names) for fields_id, names in saved.items()}

    async def expire(self, ttl: float) -> int:
        """Drop the generations that every active lane has passed by `ttl`; give how many."""
        keys = self._keys("watermarks", "generations", "own-generations", "unswept")
        length = self._ttl / GENERATIONS_PER_TTL
        arguments = [self._prefix, repr(ttl), repr(length), GENERATIONS_PER_TTL]
        return int(await self._run(scripts.EXPIRE, keys, arguments))

    async def read_state(self, lane: str, key: str) -> bytes | None:
        """Give an entry of a lane's state, for whoever does not own the lane."""
        found = await self._call(self._redis.hget, self._lane(lane), f"s:{key}")
        return cast("bytes | None", found)

    async def waiting_counts(self) -> dict[str, int]:
        """Count the state entries of each label lane: the labels that wait there."""
        counts: dict[str, int] = {}
        for key, lane in await self._lanes("label.*"):
            fields = await self._call(self._redis.hkeys, key)
            counts[lane] = sum(field.startswith(b"s:") for field in fields)
        return counts

    async def positions(self) -> dict[str, int]:
        """Give the committed position of every lane."""
        found: dict[str, int] = {}
        for key, lane in await self._lanes("*"):
            position = await self._call(self._redis.hget, key, "position")
            if position is not None:
                found[lane] = int(position)
        return found

    async def _lanes(self, pattern: str) -> list[tuple[bytes, str]]:
        prefix = self._lane("")
        # Redis reads braces literally in patterns, but not brackets; app names have neither.
        keys = await self._call(self._scan, prefix + pattern)
        return sorted((key, key.decode().removeprefix(prefix)) for key in keys)

    async def cut_version(
        self,
        lease: Lease,
        position: int,
        version_id: str,
        meta: bytes,
        blob: bytes,
        keep: int,
        replace: bool = False,
        changes: Mapping[str, bytes | None] = NO_CHANGES,
        needed: Sequence[str] = (),
    ) -> None:
        """Store a version; commit the lane's position and state with it, all or nothing."""
        keys = [self._lane(lease.lane), *self._keys("versions", "newest", "cuts", "tags")]
        head = [lease.epoch, self._number(lease), position, version_id, meta, blob, keep]
        how = [self._key("version:"), int(replace), " ".join(needed)]
        await self._fenced(lease, scripts.CUT, keys, [*head, *how, *state_arguments(changes)])

    async def _scan(self, pattern: str) -> list[bytes]:
        return [key async for key in self._redis.scan_iter(match=pattern)]

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _keys(self, *names: str) -> list[str]:
        return [self._prefix + name for name in names]

    def _lane(self, lane: str) -> str:
        return self._key(f"lane:{lane}")

    def _keyed(self, lease: Lease) -> str:
        return self._key(f"keyed:{lease.lane}:")

    def _number(self, lease: Lease) -> int:
        epoch, n_commits = self._n_commits.get(lease.lane, (0, 0))
        number = n_commits + 1 if epoch == lease.epoch else 1
        self._n_commits[lease.lane] = lease.epoch, number
        return number

    async def _fenced(
        self, lease: Lease, script: str, keys: list[str], arguments: Sequence[Any]
    ) -> Any:
        result = await self._run(script, keys, arguments)
        if result is None:
            raise CheckpointConflict(
                f"lane {lease.lane} has a new owner: epoch {lease.epoch} is no longer the newest"
            )
        return result

    async def _run(self, script: str, keys: list[str], arguments: Sequence[Any]) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        return await self._call(self._scripts[script], keys, arguments)

    async def _call(self, command: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        async def attempt() -> Any:
            try:
                return await command(*arguments)
            except redis.exceptions.RedisError as error:
                raise _translated(error) from error

        return await self._retry(attempt)


def _translated(error: redis.exceptions.RedisError) -> CheckpointError:
    text = str(error)
    if text.startswith("LOST"):
        return CheckpointLost(
            "Redis no longer has what it had confirmed: it was emptied, restored from a backup, or "
            "lost its last writes. A worker that starts now says what is missing, and what to do"
        )
    away = not isinstance(error, redis.exceptions.ResponseError) or isinstance(
        error, redis.exceptions.ReadOnlyError | redis.exceptions.OutOfMemoryError
    )
    if away or any(code in text for code in _AWAY):
        return StoreUnavailable(f"Redis: {text}")
    return StoreRefused(f"Redis: {text}")
