"""Every client library is told the same: where the servers are, TLS and logins."""

import ssl
import subprocess
from pathlib import Path

import pytest

from stream.clients import (
    aiokafka_config,
    kafka_python_config,
    redis_config,
)
from stream.section import SettingsError
from stream.settings import KafkaSettings, RedisSettings

ALL = [kafka_python_config, aiokafka_config]
SASL = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("pem")
    cert, key = folder / "cert.pem", folder / "key.pem"
    kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(
        ["openssl", "req", *kind, "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    return cert, key


def test_plaintext_needs_an_address_only() -> None:
    """The default configuration brings no TLS and no login to any client."""
    settings = KafkaSettings(bootstrap="a:1, b:2")

    assert kafka_python_config(settings) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "driftline",
        "security_protocol": "PLAINTEXT",
    }
    assert aiokafka_config(settings) == kafka_python_config(settings)


def test_a_login_reaches_every_client() -> None:
    """Each library has its own names for user, password and mechanism."""
    settings = KafkaSettings(**SASL, sasl_username="me", sasl_password="secret")

    for config in (kafka_python_config(settings), aiokafka_config(settings)):
        assert config["sasl_mechanism"] == "SCRAM-SHA-512"
        assert (config["sasl_plain_username"], config["sasl_plain_password"]) == ("me", "secret")
        assert config["security_protocol"] == "SASL_SSL"


def test_certificates_reach_every_client(pem: tuple[Path, Path]) -> None:
    """CA, certificate and key are passed as files, or inside aiokafka's TLS context."""
    cert, key = pem
    settings = KafkaSettings(
        security_protocol="SSL", ssl_ca_file=cert, ssl_cert_file=cert, ssl_key_file=key
    )

    config = kafka_python_config(settings)
    assert [config[f"ssl_{name}file"] for name in ("ca", "cert", "key")] == [
        str(cert),
        str(cert),
        str(key),
    ]
    context = aiokafka_config(settings)["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


def test_real_clients_take_the_tls_settings(pem: tuple[Path, Path]) -> None:
    """kafka-python refuses unknown arguments, so building clients proves the names."""
    from kafka import KafkaConsumer, KafkaProducer

    cert, key = pem
    settings = KafkaSettings(
        **SASL,
        sasl_username="me",
        sasl_password="secret",
        ssl_ca_file=cert,
        ssl_cert_file=cert,
        ssl_key_file=key,
        bootstrap="127.0.0.1:1",
    )

    # A given version of the API is not asked for, so nothing connects.
    config = kafka_python_config(settings) | {"api_version": (4, 0)}
    KafkaConsumer(**config).close()
    KafkaProducer(**config).close()


@pytest.mark.parametrize("config_of", ALL)
def test_a_login_without_a_password_names_the_setting(config_of) -> None:
    """Half a login is found before any server is asked."""
    settings = KafkaSettings(**SASL, sasl_username="me")

    with pytest.raises(SettingsError, match=r"kafka\.sasl_password must be set"):
        config_of(settings)


@pytest.mark.parametrize("config_of", ALL)
def test_a_missing_certificate_names_the_setting(config_of, tmp_path: Path) -> None:
    """A wrong path is a line about the setting, not a stack trace of OpenSSL."""
    settings = KafkaSettings(security_protocol="SSL", ssl_ca_file=tmp_path / "absent.pem")

    with pytest.raises(SettingsError, match=r"kafka\.ssl_ca_file.*absent\.pem"):
        config_of(settings)


def test_a_key_that_does_not_fit_names_the_settings(pem: tuple[Path, Path]) -> None:
    """A certificate without its key can't log in."""
    cert, _ = pem
    settings = KafkaSettings(security_protocol="SSL", ssl_cert_file=cert, ssl_key_file=cert)

    with pytest.raises(SettingsError, match=r"kafka\.ssl_cert_file .* kafka\.ssl_key_file"):
        aiokafka_config(settings)


def test_no_broker_is_refused() -> None:
    """An empty address would mean localhost to some clients."""
    with pytest.raises(SettingsError, match=r"kafka\.bootstrap"):
        kafka_python_config(KafkaSettings(bootstrap=" , "))


def test_redis_gets_login_and_timeout(tmp_path: Path) -> None:
    """The password may come from a file."""
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    settings = RedisSettings(
        url="redis://cache:6379/2", username="me", password_file=secret, timeout="3s"
    )

    config = redis_config(settings)

    assert (config["username"], config["password"], config["socket_timeout"]) == ("me", "hush", 3.0)


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0", "unix:///tmp/none.sock"]
)
def test_redis_py_takes_the_arguments(url: str, pem: tuple[Path, Path]) -> None:
    """Connections are made lazily, so building one checks every argument's name."""
    import redis

    settings = RedisSettings(url=url, ssl_ca_file=pem[0])
    client = redis.Redis.from_url(**redis_config(settings))

    client.connection_pool.make_connection()


def test_a_wrong_redis_address_names_the_setting() -> None:
    """http:// is a common slip."""
    with pytest.raises(SettingsError, match=r"redis\.url must begin with"):
        redis_config(RedisSettings(url="http://127.0.0.1"))
