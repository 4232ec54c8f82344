"""Settings: one `driftline.toml`, overridden by environment variables.

Precedence, highest first: arguments, environment (`DRIFTLINE_KAFKA__BOOTSTRAP`), the file. Unknown
keys are refused, because a misspelt limit that is silently ignored is found at 3 a.m. Secrets come
from the environment or from a file named by the setting, and never print.

Why one frozen tree: the composition root hands each part just the branch that it needs, so a part
can't come to depend on a setting that its signature does not show.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from models.sealing import KeyRing
from models.types import Task
from stream.challenger_settings import ChallengerSettings
from stream.decision_settings import (
    BinaryRareSettings,
    DecisionSettings,
    FittingDecisionSettings,
    RareSettings,
    ReasonSettings,
)
from stream.drift_section import DriftSettings
from stream.durations import Duration
from stream.feature_settings import DerivedSettings
from stream.mlflow_settings import MlflowSettings
from stream.section import Section, SettingsError, explain, secret

PRESETS = Path(__file__).parent / "presets"
DEFAULT_FILE = Path("driftline.toml")
NUMBER_MAX = 1e15
"""Beyond this a float has lost its decimals and squares overflow in scalers: refuse at the edge."""

_TOPIC_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _check_topic_prefix(name: str) -> str:
    if not _TOPIC_PREFIX.fullmatch(name):
        raise ValueError("use letters, digits, '.', '_' and '-': it begins every topic's name")
    return name


class KafkaSettings(Section):
    """Where Kafka is and how to log in; passed to every client."""

    bootstrap: str = Field("127.0.0.1:9092", description="Brokers as host:port, comma separated.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism, where security_protocol begins with SASL."
    )
    sasl_username: str | None = Field(None, description="SASL user.")
    sasl_password: SecretStr | None = Field(
        None, description="SASL password; better set by the environment or sasl_password_file."
    )
    sasl_password_file: Path | None = Field(None, description="File that holds the SASL password.")
    ssl_ca_file: Path | None = Field(None, description="CA bundle (PEM); else the system's.")
    ssl_cert_file: Path | None = Field(None, description="Client certificate (PEM).")
    ssl_key_file: Path | None = Field(None, description="Client key (PEM).")
    partitions: int = Field(8, ge=1, le=1024, description="Partitions of the topics we create.")
    replication: int = Field(1, ge=1, le=9, description="Replicas of the topics we create.")
    inputs_may_have_gaps: bool = Field(
        False,
        description="Set where events or labels are compacted or written by transactions; else "
        "a gap in the offsets stops the worker, since it means lost records.",
    )
    session_timeout: Duration = Field(
        10.0, description="A worker silent for this long has lost its lanes (Kafka's session)."
    )

    def password(self) -> str | None:
        """Give the SASL password, from the value or the file."""
        return secret(self.sasl_password, self.sasl_password_file)


class RedisSettings(Section):
    """Where Redis is and how to log in."""

    url: str = Field(
        "redis://127.0.0.1:6379/0", description="redis://, rediss:// (TLS) or unix:// address."
    )
    username: str | None = Field(None, description="Redis user (ACL).")
    password: SecretStr | None = Field(
        None, description="Redis password; better set by the environment or password_file."
    )
    password_file: Path | None = Field(None, description="File that holds the Redis password.")
    ssl_ca_file: Path | None = Field(None, description="CA bundle (PEM) to trust for rediss://.")
    timeout: Duration = Field(5.0, description="A Redis call slower than this has failed.")

    def secret(self) -> str | None:
        """Give the password, from the value or the file."""
        return secret(self.password, self.password_file)


class FeatureSettings(Section):
    """One feature field of an event, as the producer sends it."""

    type: Literal["number", "integer", "category", "boolean"] = Field(
        "number", description="number and integer are checked for range; category is a string."
    )
    min: float = Field(-NUMBER_MAX, description="Smallest accepted number.")
    max: float = Field(NUMBER_MAX, description="Largest accepted number.")
    required: bool = Field(True, description="An event without it is a dead letter.")
    length_max: int = Field(256, ge=1, description="Longest accepted category, in characters.")

    @model_validator(mode="after")
    def _range(self) -> FeatureSettings:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class EventSettings(Section):
    """Which of the producer's fields mean what."""

    id: str = Field("id", description="Field with the event's unique id (string or integer).")
    time: str | None = Field(
        None, description="Field with the event time; without it Kafka's timestamp is used."
    )
    time_format: Literal["iso8601", "epoch_s", "epoch_ms"] = Field(
        "iso8601", description="How the time is written; iso8601 without a zone is UTC."
    )
    entity: str | None = Field(
        None, description="Field with the card, user or device; alerts are keyed by it."
    )
    future_max: Duration = Field(
        86_400.0,
        description="An event later than its Kafka timestamp by more than this is a dead letter: "
        "one wrong year would make all waiting labels look late.",
    )
    bytes_max: int = Field(65_536, ge=64, description="A larger record is a dead letter.")
    features: dict[str, FeatureSettings] = Field(
        description="The feature fields, a table each; other fields are ignored."
    )

    @model_validator(mode="after")
    def _distinct(self) -> EventSettings:
        if not self.features:
            raise ValueError("name at least one field under [event.features]")
        if self.id in self.features or (self.time is not None and self.time in self.features):
            raise ValueError("the id and time fields can't be features")
        return self


class LabelSettings(Section):
    """Which fields of a label record mean what."""

    id: str = Field("id", description="Field with the id of the labelled event.")
    value: str = Field("label", description="Field with the label.")
    positive: str | None = Field(
        None, description="For binary tasks with text labels: the text that means positive."
    )
    negative: str | None = Field(None, description="The text that means negative.")
    time: str | None = Field(
        None, description="Field with the label's time; without it Kafka's timestamp is used."
    )
    time_format: Literal["iso8601", "epoch_s", "epoch_ms"] = Field(
        "iso8601", description="How the time is written; iso8601 without a zone is UTC."
    )
    future_max: Duration = Field(
        86_400.0,
        description="A label later than its Kafka timestamp by more than this is a dead letter.",
    )
    corrections: Literal["learn", "refuse"] = Field(
        "learn",
        description="What a label does that contradicts an earlier one of its event: it is learned "
        "as well, once, or it is a dead letter.",
    )
    weight: str | None = Field(
        None, description="Field with the label's weight, a number; a label without it weighs 1."
    )
    weight_max: float = Field(
        1000.0, gt=0, description="A label that weighs more, or less than 0, is a dead letter."
    )
    features: bool = Field(
        False,
        description="Labels may carry the event's feature fields: such a label is learned at once "
        "if its event does not wait for it.",
    )

    @model_validator(mode="after")
    def _pair(self) -> LabelSettings:
        if (self.positive is None) != (self.negative is None):
            raise ValueError("set both positive and negative, or neither")
        return self


class ModelSettings(Section):
    """What learns."""

    task: Task = Field(Task.BINARY, description="binary, multiclass, regression or anomaly.")
    pipeline: str = Field(
        "logistic",
        description="A pipeline's name, or module:function that builds a River pipeline.",
    )
    seed: int = Field(1, description="Seed of whatever is random in the pipeline.")
    threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="A score at or above it is an alert, if decision.rule is fixed.",
    )
    rolling_n: int = Field(1000, ge=10, description="Examples in the rolling metrics.")


class JoinSettings(Section):
    """How long events wait for labels, and labels for events."""

    ttl: Duration = Field(
        90 * 86400.0, gt=0, description="A label later than this after its event has expired."
    )
    early_grace: Duration = Field(
        60.0,
        description="How far events must have passed a label's time, and how long it must have "
        "waited, before its event counts as unknown.",
    )
    waiting_max: int = Field(
        20_000, ge=1, description="Labels that may wait for their events before a lane pauses."
    )
    negative_after: Duration = Field(
        0.0,
        description="Binary tasks: an event without a label for this long is learned as a "
        "negative; 0: never. Must be below ttl.",
    )
    negative_weight: float = Field(1.0, gt=0, le=1000, description="What such a negative weighs.")

    @model_validator(mode="after")
    def _negatives(self) -> JoinSettings:
        if self.negative_after >= self.ttl:
            raise ValueError(
                f"negative_after ({self.negative_after:g} s) must be below ttl ({self.ttl:g} s): "
                "events are not remembered longer"
            )
        return self


class VersionSettings(Section):
    """When versions are cut, how many are kept, and what proves them to be ours."""

    every_n: int = Field(50_000, ge=1, description="Cut a version after this many examples.")
    interval: Duration = Field(
        30.0, gt=0, description="Cut a version after this long, if anything was learned."
    )
    keep: int = Field(50, ge=2, description="Versions kept; the oldest beyond are dropped.")
    keys: SecretStr | None = Field(
        None,
        description="`ID:SECRET`, more of them after a space: the first signs versions, by any of "
        "them they have to be signed; better set by the environment or keys_file.",
    )
    keys_file: Path | None = Field(None, description="File that holds the same, a line for each.")

    def key_ring(self) -> KeyRing | None:
        """Give the keys, from the value or the file; None if versions are not signed."""
        text = secret(self.keys, self.keys_file)
        try:
            return None if text is None else KeyRing.parse(text)
        except ValueError as error:
            where = "versions.keys" if self.keys is not None else str(self.keys_file)
            raise SettingsError(f"{where}: {error}") from None


class WorkerSettings(Section):
    """How a worker runs."""

    batch_records_max: int = Field(
        2048, ge=1, le=10_000, description="Records a lane takes at once."
    )
    http_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz, /readyz.")
    http_port: int = Field(9464, ge=0, le=65_535, description="Its port; 0 takes a free one.")
    http_port_file: Path | None = Field(
        None, description="File to write the port in use to, for http_port = 0."
    )
    model_poll: Duration = Field(
        0.1, gt=0, description="How often a worker without the learner looks for a newer version."
    )
    model_staleness_max: Duration = Field(
        120.0, gt=0, description="A score by an older snapshot is flagged stale."
    )


class Settings(BaseSettings):
    """The whole configuration of an application."""

    model_config = SettingsConfigDict(
        env_prefix="DRIFTLINE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    app: Annotated[str, AfterValidator(_check_topic_prefix)] = Field(
        "driftline", description="Name of the application; begins its topics and Redis keys."
    )
    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    event: EventSettings
    features: DerivedSettings = DerivedSettings()
    label: LabelSettings = LabelSettings()
    model: ModelSettings = ModelSettings()
    rare: BinaryRareSettings = RareSettings()
    decision: FittingDecisionSettings = DecisionSettings()
    reasons: ReasonSettings = ReasonSettings()
    drift: DriftSettings = DriftSettings()
    join: JoinSettings = JoinSettings()
    versions: VersionSettings = VersionSettings()
    worker: WorkerSettings = WorkerSettings()
    challengers: ChallengerSettings = ChallengerSettings()
    mlflow: MlflowSettings = MlflowSettings()

    @model_validator(mode="after")
    def _derived(self) -> Settings:
        self.features.check(self.event)
        self.drift.check([*self.event.features, *self.features.names()])
        if self.features.risk and self.model.task not in (Task.BINARY, Task.ANOMALY):
            raise ValueError(f"features.risk needs positives, and model.task is {self.model.task}")
        return self

    @model_validator(mode="after")
    def _labels(self) -> Settings:
        if self.join.negative_after and self.model.task is not Task.BINARY:
            raise ValueError(
                f"join.negative_after is for binary tasks, and model.task is {self.model.task}"
            )
        if self.label.features and self.model.task is Task.ANOMALY:
            raise ValueError(
                "label.features makes no sense with model.task anomaly, which learns from events"
            )
        own = {self.label.id, self.label.value, self.label.time, self.label.weight}
        if self.label.features and (both := own & self.event.features.keys()):
            raise ValueError(
                f"with label.features, the field {min(filter(None, both))!r} can't be both a "
                "feature and the label's id, value, time or weight"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose content arrives as init arguments."""
        return env_settings, init_settings


def find_file(name: str | os.PathLike[str] | None) -> Path:
    """Resolve what `--config` was given: a path, a shipped preset's name, or the default file."""
    if name is None:
        name = os.environ.get("DRIFTLINE_CONFIG", DEFAULT_FILE)
    path = Path(name)
    if path.exists():
        return path
    preset = PRESETS / f"{path.name}.toml"
    if path.suffix == "" and len(path.parts) == 1 and preset.exists():
        return preset
    shipped = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
    raise SettingsError(
        f"no configuration at {path}. Write one, or use a shipped one by its name: "
        f"--config fraud (there are: {shipped})"
    )


def load_settings(
    name: str | os.PathLike[str] | None = None, overrides: dict[str, Any] | None = None
) -> Settings:
    """Read and check the configuration.

    `overrides` is a nested dict that wins over the file, though not over the environment.
    """
    path = find_file(name)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    _merge(data, overrides or {})
    try:
        return Settings(**data)
    except ValidationError as error:
        raise SettingsError(explain(path, error)) from None


def _merge(into: dict[str, Any], overrides: dict[str, Any]) -> None:
    for key, value in overrides.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value
