"""How each client library is told where Kafka and Redis are, and how to log in.

Why here: two Kafka clients are in use (aiokafka under Faust, kafka-python for everything else),
and each has its own names for the same settings. A deployment with TLS must not find out in
production that one of them was forgotten.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stream.section import SettingsError
from stream.settings import KafkaSettings, RedisSettings

CLIENT_ID = "driftline"


def kafka_python_config(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments for any kafka-python client.

    Examples
    --------
    >>> kafka_python_config(KafkaSettings(bootstrap="a:9092, b:9092"))["bootstrap_servers"]
    ['a:9092', 'b:9092']
    """
    config: dict[str, Any] = {
        "bootstrap_servers": _brokers(settings),
        "client_id": CLIENT_ID,
        "security_protocol": settings.security_protocol,
    }
    if _uses_tls(settings):
        _check_files(settings)
        config |= _present(
            ssl_cafile=settings.ssl_ca_file,
            ssl_certfile=settings.ssl_cert_file,
            ssl_keyfile=settings.ssl_key_file,
        )
    return config | _sasl_of_python_clients(settings)


def aiokafka_config(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments for any aiokafka client; TLS comes as a ready context."""
    config: dict[str, Any] = {
        "bootstrap_servers": _brokers(settings),
        "client_id": CLIENT_ID,
        "security_protocol": settings.security_protocol,
    }
    if _uses_tls(settings):
        config["ssl_context"] = kafka_ssl_context(settings)
    return config | _sasl_of_python_clients(settings)


def kafka_ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """Build the TLS context for clients that take one (aiokafka, Faust)."""
    _check_files(settings)
    context = ssl.create_default_context(cafile=settings.ssl_ca_file)
    if settings.ssl_cert_file is not None:
        try:
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file)
        except ssl.SSLError as error:
            raise SettingsError(
                f"kafka.ssl_cert_file {settings.ssl_cert_file} and kafka.ssl_key_file can't be "
                f"used together: {error.reason or error}"
            ) from None
    return context


def redis_config(settings: RedisSettings) -> dict[str, Any]:
    """Arguments for `redis.Redis.from_url` and `redis.asyncio.Redis.from_url`.

    User and password in the address win over the settings, as everywhere in redis-py.

    Examples
    --------
    >>> redis_config(RedisSettings(url="redis://cache:6379/0", timeout="2s"))
    {'url': 'redis://cache:6379/0', 'socket_timeout': 2.0, 'socket_connect_timeout': 2.0}
    """
    _check_redis_url(settings.url)
    config: dict[str, Any] = {
        "url": settings.url,
        "socket_timeout": settings.timeout,
        "socket_connect_timeout": settings.timeout,
    }
    config |= _present(username=settings.username, password=settings.secret())
    if settings.ssl_ca_file is not None and urlsplit(settings.url).scheme == "rediss":
        _check_file("redis.ssl_ca_file", settings.ssl_ca_file)
        config["ssl_ca_certs"] = str(settings.ssl_ca_file)
    return config


def _brokers(settings: KafkaSettings) -> list[str]:
    brokers = [broker.strip() for broker in settings.bootstrap.split(",") if broker.strip()]
    if not brokers:
        raise SettingsError("kafka.bootstrap names no broker: set it to host:port")
    return brokers


def _uses_tls(settings: KafkaSettings) -> bool:
    return settings.security_protocol in ("SSL", "SASL_SSL")


def _uses_sasl(settings: KafkaSettings) -> bool:
    return settings.security_protocol.startswith("SASL")


def _sasl_of_python_clients(settings: KafkaSettings) -> dict[str, Any]:
    if not _uses_sasl(settings):
        return {}
    user, password = _login(settings)
    return {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


def _login(settings: KafkaSettings) -> tuple[str, str]:
    password = settings.password()
    for name, value in (("sasl_username", settings.sasl_username), ("sasl_password", password)):
        if value is None:
            raise SettingsError(
                f"kafka.security_protocol is {settings.security_protocol}, so kafka.{name} must be "
                f"set, best by DRIFTLINE_KAFKA__{name.upper()}"
            )
    return str(settings.sasl_username), str(password)


def _check_files(settings: KafkaSettings) -> None:
    for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
        path = getattr(settings, name)
        if path is not None:
            _check_file(f"kafka.{name}", path)


def _check_file(key: str, path: Path) -> None:
    # Otherwise it is a stack trace of OpenSSL's, without the file's name.
    if not path.is_file():
        raise SettingsError(f"{key}: there is no file {path}")


def _check_redis_url(url: str) -> None:
    if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise SettingsError(
            "redis.url must begin with redis://, rediss:// or unix://, as in redis://127.0.0.1:6379/0"
        )


def _present(**values: str | Path | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}
