"""Turn every mistake of a user and every silent server into a line or two with the fix.

One table for all commands: what is not in it is our bug, and shows its stack trace. Errors are
told apart by the names of their classes, because importing the libraries that define them would
make `driftline --help` wait for Kafka clients.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_UNSET = "the configured address"

loaded_settings: ContextVar[Any] = ContextVar("loaded_settings", default=None)
"""What the running command has loaded, so that an explanation can name the addresses."""

_KAFKA_ABSENT = frozenset(
    {
        "NoBrokersAvailable",
        "KafkaConnectionError",
        "KafkaTimeoutError",
        "NodeNotReadyError",
        "BootstrapConnectionError",
    }
)
_KAFKA_LOGIN = frozenset({"AuthenticationFailedError", "SaslAuthenticationFailedError"})
_KAFKA_DENIED = frozenset(
    {
        "TopicAuthorizationFailedError",
        "ClusterAuthorizationFailedError",
        "GroupAuthorizationFailedError",
    }
)
_SAYS_IT_ALL = frozenset(
    {
        "SettingsError",
        "CommandError",
        "FileError",
        "UnknownTopic",
        "LogIncomplete",
        "RecoveryImpossible",
        "StateLost",
        "UnknownVersion",
        "InvalidPipeline",
        "CheckpointCorrupt",
        "CheckpointConflict",
        "EmbeddedServerError",
    }
)


class CommandError(Exception):
    """The command can't do what was asked; the message says why and what to do."""


class ExplainingGroup(TyperGroup):
    """The root of the commands: prints known errors on stderr and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            # The reader, `head` for one, has seen enough.
            raise typer.Exit(EXIT_FAILED) from None
        except Exception as error:
            text = explain(error, loaded_settings.get())
            if text is None:
                raise
            Console(stderr=True, soft_wrap=True).print(
                f"error: {text}", style="red", markup=False, highlight=False
            )
            raise typer.Exit(getattr(error, "exit_status", EXIT_FAILED)) from None


def explain(error: BaseException, settings: Any = None) -> str | None:
    """Say what happened and what to do; None when the error is our bug."""
    names = {kind.__name__ for kind in type(error).__mro__}
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if names & _SAYS_IT_ALL:
        return str(error)
    if "StoreUnavailable" in names:
        return _redis_trouble(error.__cause__ or error, settings)
    if modules & {"kafka", "aiokafka"}:
        return _kafka_trouble(error, names, settings)
    if modules & {"mlflow", "sqlalchemy"}:
        return _mlflow_trouble(error, settings)
    if "redis" in modules:
        return _redis_trouble(error, settings)
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"there is no file {error.filename}"
    if isinstance(error, PermissionError | IsADirectoryError) and error.filename is not None:
        return f"can't open {error.filename}: {error.strerror}"
    return None


def _kafka_trouble(error: BaseException, names: set[str], settings: Any) -> str | None:
    if names & _KAFKA_LOGIN:
        return _login(error)
    if names & _KAFKA_DENIED:
        return f"Kafka does not allow this user to do that: {error}"
    if names & _KAFKA_ABSENT:
        return _no_kafka(settings)
    return f"Kafka refused: {error}" if "BrokerResponseError" in names else None


def _login(error: object) -> str:
    return (
        f"Kafka refused the login ({error}): check kafka.security_protocol, kafka.sasl_mechanism, "
        "kafka.sasl_username and kafka.sasl_password"
    )


def _no_kafka(settings: Any) -> str:
    where = settings.kafka.bootstrap if settings else _UNSET
    return (
        f"no Kafka answers at {where}. Start it, or set kafka.bootstrap "
        "(environment: DRIFTLINE_KAFKA__BOOTSTRAP); if it wants TLS or a login, set "
        "kafka.security_protocol"
    )


def _redis_trouble(error: BaseException, settings: Any) -> str:
    where = without_password(settings.redis.url) if settings else _UNSET
    names = {kind.__name__ for kind in type(error).__mro__}
    if "AuthenticationError" in names:
        return (
            f"Redis at {where} refused the login ({error}): set redis.username and redis.password "
            "(environment: DRIFTLINE_REDIS__PASSWORD)"
        )
    if names & {"ConnectionError", "TimeoutError", "StoreUnavailable"}:
        return (
            f"no Redis answers at {where} ({error}). Start it, or set redis.url "
            "(environment: DRIFTLINE_REDIS__URL)"
        )
    return f"Redis at {where} refused: {error}"


def _mlflow_trouble(error: BaseException, settings: Any) -> str:
    uri = settings.mlflow.tracking_uri if settings else None
    where = without_password(uri) if uri else _UNSET
    return f"MLflow at {where} can't be used (mlflow.tracking_uri): {error}"


def without_password(url: str) -> str:
    """Write an address so that it can be shown.

    Examples
    --------
    >>> without_password("redis://user:secret@cache:6379/0")
    'redis://cache:6379/0'
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
