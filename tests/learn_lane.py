"""A learn lane on doubles: fed with examples and commands, crashed and started again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from models import checkpoint
from models.learner import Learner
from models.stores.memory import MemoryStore
from models.types import Example
from stream.arms import Arms
from stream.challenge import ChallengerCommands
from stream.lane import Lane
from stream.learn import LearnHandler
from stream.learners import learner_before, new_learner
from stream.messages import AuditRecord, Command, decode_audit, encode_json
from stream.ports import Message
from stream.replay import fold
from stream.scorer import ModelInForce
from stream.settings import Settings
from stream.vault import Restored, Vault
from tests.memory_logs import MemoryLogs


class Crash(Exception):
    """The process ended."""


class CrashingStore(MemoryStore):
    """Crashes instead of a write, or just after it; counts what is read of states."""

    crash_before = crash_after = False
    n_bytes_read = 0

    async def read_state(self, lane: str, key: str) -> bytes | None:
        found = await super().read_state(lane, key)
        self.n_bytes_read += len(found or b"")
        return found

    async def cut_version(self, *arguments: Any) -> None:
        if self.crash_before:
            raise Crash
        await super().cut_version(*arguments)
        if self.crash_after:
            raise Crash


class LearnLane:
    """A learn lane that can be started again, its store and its logs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = CrashingStore(ttl=1.0)
        self.logs = MemoryLogs()
        self.in_force = ModelInForce(lambda: new_learner(self.settings), self.now, 60.0)
        self.published: list[Message] = []
        self.n_commands = 0

    async def start(self) -> None:
        """Start a process that gets the lane."""
        self.store.crash_before = self.store.crash_after = False
        vault = Vault(
            self.store, keys=None, trusted=(), in_background=at_once, tell=lambda refused: None
        )
        self.arms = Arms(self.store, vault, in_background=at_once, now=self.now, staleness_max=60.0)
        self.challengers, commands = ChallengerCommands.of(
            self.settings, vault=vault, logs=self.logs, timer=lambda: 0.0
        )
        self.handler = LearnHandler(
            0,
            fresh=lambda: new_learner(self.settings),
            in_force=self.in_force,
            store=self.store,
            versions=self.settings.versions,
            vault=vault,
            logs=self.logs,
            challengers=self.challengers,
            commands=commands,
            arms=self.arms,
        )
        lease = await self.store.acquire("learn.0")
        position = await self.handler.open(lease)
        self.lane = Lane(
            lease, self.handler, store=self.store, outbox=self, clock=self, observer=Unobserved(),
            batch_records_max=100, pause=lambda paused: None, strict=True,
        )  # fmt: skip
        self.lane.start_at(position or 0)
        self.n_offered = self.lane.position
        self.published.clear()

    def now(self) -> float:
        return 1_000.0

    def feed(self, *examples: Example) -> None:
        """Append to the examples log."""
        for one in examples:
            self.logs.append("examples", encode_json(one))

    def command(self, name: str, /, **arguments: Any) -> str:
        """Append to the log of commands."""
        self.n_commands += 1
        command = Command(
            id=f"c{self.n_commands}", command=name, arguments=arguments, who="ana", why="because",
            time=1.0,
        )  # fmt: skip
        self.logs.append("control", encode_json(command))
        return command.id

    async def settle(self, steps: int = 8) -> None:
        """Let the lane take what there is."""
        new = self.logs.records["examples"][self.n_offered :]
        if new:
            self.lane.offer(new)
            self.n_offered += len(new)
        for _ in range(steps):
            await self.lane.step()

    async def publish(self, messages: Sequence[Message]) -> None:
        self.published += messages

    @property
    def audit(self) -> list[AuditRecord]:
        return [decode_audit(m.value) for m in self.published if m.topic == "audit"]

    @property
    def learner(self) -> Learner:
        assert self.handler.learner is not None
        return self.handler.learner

    async def rebuilt(self, version: str) -> Learner:
        """Make a version from the logs and its metadata, as `driftline replay` does."""
        meta, _ = checkpoint.peek(await self.store.read_meta(version))
        learner = learner_before(self.settings, meta.segments)
        log = [(record.offset, record.value) for record in self.logs.records["examples"]]
        batches = [log[i : i + 7] for i in range(0, len(log), 7)]
        list(fold(learner, batches, meta.position, meta.segments))
        return learner


class Unobserved:
    """Nobody watches the lane."""

    def committed(self, *anything: object) -> None:
        pass

    def behind(self, lane: Lane) -> bool:
        return False


async def at_once(work: Callable[[], Restored]) -> Restored:
    return work()
