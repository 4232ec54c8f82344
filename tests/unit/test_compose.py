"""docker-compose.yml, the Dockerfile and the Prometheus file are held to the code and the README.

No Docker engine is needed: what can be known without one is checked here, from the rules of the
Compose specification to every command, variable, port and file that they name.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from stream.reference import keys
from stream.settings import load_settings
from tests.command_lines import ROOT, commands_in_shell, problem_with

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OWN_IMAGE = "driftline"

# Of the Compose specification: what there is, less what we have no use for (a key that is missing
# here may be right; look it up, then add it).
TOP_LEVEL = {"name", "services", "volumes", "networks", "configs", "secrets"}
OF_A_SERVICE = {
    "build", "cap_drop", "command", "configs", "depends_on", "deploy", "entrypoint", "env_file",
    "environment", "expose", "healthcheck", "image", "init", "logging", "networks", "ports",
    "profiles", "read_only", "restart", "secrets", "security_opt", "stop_grace_period", "tmpfs",
    "ulimits", "user", "volumes", "working_dir",
}  # fmt: skip
OF_A_HEALTHCHECK = {
    "test", "interval", "timeout", "retries", "start_period", "start_interval", "disable",
}  # fmt: skip
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
RESTARTS = {"no", "always", "on-failure", "unless-stopped"}


def environment(service: str) -> dict[str, str]:
    """Read the variables that a service is given."""
    return SERVICES[service].get("environment") or {}


def is_ours(service: str) -> bool:
    """Whether the service runs the image that deploy/Dockerfile builds."""
    return SERVICES[service]["image"].partition(":")[0] == OWN_IMAGE


def instructions(name: str) -> list[str]:
    """Find the arguments of an instruction in the Dockerfile, in order."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return re.findall(rf"^\s*{name}\s+(.*)$", joined, re.MULTILINE)


def argv(value: Any) -> list[str]:
    """Read a command that is a list, as all of ours are."""
    assert isinstance(value, list), f"write {value!r} as a list: no shell comes between"
    return [str(word) for word in value]


OURS = [name for name in SERVICES if is_ours(name)]


def test_the_keys_are_those_of_the_compose_specification() -> None:
    """A misspelt key is refused by Compose, or worse, ignored."""
    assert {k for k in COMPOSE if not k.startswith("x-")} <= TOP_LEVEL
    for name, service in SERVICES.items():
        assert set(service) <= OF_A_SERVICE, name
        assert set(service.get("healthcheck", {})) <= OF_A_HEALTHCHECK, name
        assert service.get("restart", "no") in RESTARTS, name
        assert all(isinstance(value, str) for value in environment(name).values()), (
            f"{name}: quote numbers and booleans, YAML and Compose read them differently"
        )


def test_the_services_are_those_that_the_readme_names() -> None:
    """Nothing runs that the README does not speak of."""
    assert set(SERVICES) == {"kafka", "redis", "worker", "prometheus", "producer"}
    assert set(SERVICES) <= set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))


def test_services_wait_for_services_that_exist_and_can_be_healthy() -> None:
    """`service_healthy` without a health check waits for ever."""
    for name, service in SERVICES.items():
        for other, dependency in service.get("depends_on", {}).items():
            assert other in SERVICES, (name, other)
            assert dependency["condition"] in CONDITIONS, (name, other)
            if dependency["condition"] == "service_healthy":
                by_image = is_ours(other) and bool(instructions("HEALTHCHECK"))
                check = SERVICES[other].get("healthcheck", {})
                assert by_image or "test" in check, f"{other} has no health check"
                assert not check.get("disable", False), f"{other} has none any more"


def test_the_worker_waits_for_kafka_and_redis_and_always_comes_back() -> None:
    """Its restart is the recovery path."""
    needs = SERVICES["worker"]["depends_on"]
    assert {n for n, d in needs.items() if d["condition"] == "service_healthy"} == {
        "kafka",
        "redis",
    }
    for name in ("kafka", "redis", "worker", "prometheus"):
        assert SERVICES[name]["restart"] == "always", name


def test_images_are_pinned() -> None:
    """The same file gives the same system next year."""
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-\w+)?", service["image"]), name
    froms = instructions("FROM")
    assert len(froms) == 2
    for image in froms:
        assert re.match(r"python:3\.\d+\.\d+-slim-\w+( AS \w+)?$", image), image


def test_our_image_carries_the_version_of_the_package() -> None:
    """One version everywhere."""
    for name in OURS:
        assert SERVICES[name]["image"] == f"{OWN_IMAGE}:{PYPROJECT['project']['version']}"


def test_kafka_is_the_version_that_the_tests_run_on() -> None:
    """What is shipped is what is tested."""
    pom = (ROOT / "scripts" / "kafka-pom.xml").read_text(encoding="utf-8")
    tested = re.search(r"<kafka\.version>(.*)</kafka\.version>", pom)
    assert tested is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{tested[1]}"


def test_ports_are_bound_to_loopback() -> None:
    """Nothing here asks for a password."""
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), (name, port)


def test_workers_can_be_scaled() -> None:
    """A second container can't take the same host port or name."""
    assert not {"ports", "container_name"} & set(SERVICES["worker"])


def test_volumes_are_declared_and_used() -> None:
    """An undeclared volume is an error; a file that is not there becomes a folder."""
    used = set()
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), (name, source)
            else:
                used.add(source)
    assert used == set(COMPOSE["volumes"])


def test_data_is_kept_on_volumes() -> None:
    """Kafka holds the record and Redis the positions: neither may live in the container."""
    mounted = {n: {v.split(":")[1] for v in s.get("volumes", [])} for n, s in SERVICES.items()}
    assert environment("kafka")["KAFKA_LOG_DIRS"] in mounted["kafka"]
    assert "/data" in mounted["redis"]
    redis = argv(SERVICES["redis"]["command"])
    assert redis[redis.index("--appendonly") + 1] == "yes"
    assert redis[redis.index("--maxmemory-policy") + 1] == "noeviction"


def test_kafka_listens_where_its_clients_look() -> None:
    """Containers use one listener, programs on the host the published one."""
    kafka = environment("kafka")
    listening = {
        name: address
        for name, _, address in (x.partition("://") for x in kafka["KAFKA_LISTENERS"].split(","))
    }
    told = dict(x.split("://") for x in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert told["INSIDE"] == environment("worker")["DRIFTLINE_KAFKA__BOOTSTRAP"]
    assert listening["INSIDE"].endswith(":" + told["INSIDE"].split(":")[1])
    host, port = told["HOST"].split(":")
    assert SERVICES["kafka"]["ports"] == [f"{host}:{port}:{listening['HOST'].split(':')[-1]}"]
    assert listening["HOST"].split(":")[-1] in SERVICES["kafka"]["healthcheck"]["test"][-1]
    protocols = dict(x.split(":") for x in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(protocols) == set(listening)
    voter = kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"]
    assert voter == f"{kafka['KAFKA_NODE_ID']}@{listening['CONTROLLER']}"


@pytest.mark.parametrize("service", OURS)
def test_commands_exist_in_the_command_line(service: str) -> None:
    """Every command of the file parses, options and all."""
    entrypoint = argv(
        SERVICES[service].get("entrypoint", json.loads(instructions("ENTRYPOINT")[-1]))
    )
    command = argv(SERVICES[service].get("command", json.loads(instructions("CMD")[-1])))
    if entrypoint == ["driftline"]:
        lines = [command]
    else:
        assert entrypoint == ["/bin/sh", "-euc"], entrypoint
        lines = commands_in_shell(command[0])
    assert lines
    assert {" ".join(line): problem_with(line) for line in lines} == {
        " ".join(line): None for line in lines
    }


@pytest.mark.parametrize("service", OURS)
def test_variables_are_settings_and_their_values_validate(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that no setting reads is a setting that is not made."""
    variables = {k: v for k, v in environment(service).items() if k.startswith("DRIFTLINE_")}
    known = {key.environment for key in keys()} | {"DRIFTLINE_CONFIG", "DRIFTLINE_LOG_LEVEL"}
    assert set(variables) <= known
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    settings = load_settings()

    assert settings.app == "fraud"
    assert settings.kafka.bootstrap == "kafka:19092"
    assert settings.redis.url == "redis://redis:6379/0"


def test_prometheus_scrapes_the_worker_where_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files and a setting have to agree on one port."""
    for name, value in environment("worker").items():
        monkeypatch.setenv(name, value)
    worker = load_settings().worker
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]

    assert discovery["names"] == ["worker"]
    assert discovery["type"] == "A"
    assert discovery["port"] == worker.http_port
    assert SERVICES["worker"]["expose"] == [str(worker.http_port)]
    assert instructions("EXPOSE") == [str(worker.http_port)]
    assert f"http://127.0.0.1:{worker.http_port}/healthz" in instructions("HEALTHCHECK")[0]
    assert worker.http_host == "0.0.0.0"
    mounted = {v.split(":")[1] for v in SERVICES["prometheus"]["volumes"]}
    flags = dict(flag.split("=") for flag in argv(SERVICES["prometheus"]["command"]))
    assert flags["--config.file"] in mounted
    assert flags["--storage.tsdb.path"] in mounted


def test_secrets_are_never_written_here() -> None:
    """They come from the environment or from a file."""
    for name in SERVICES:
        for key, value in environment(name).items():
            secret = "PASSWORD" in key or "KEYS" in key
            assert not secret or key.endswith("_FILE") or value.startswith("${"), key
    assert not re.search(r"://[^/\s]*:[^/\s]*@", (ROOT / "docker-compose.yml").read_text())


@pytest.mark.parametrize("service", OURS)
def test_our_containers_can_do_little(service: str) -> None:
    """Read-only, without capabilities, as nobody in particular."""
    assert SERVICES[service]["read_only"] is True
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
    assert SERVICES[service]["tmpfs"] == ["/tmp"]
    user = instructions("USER")[-1].split(":")[0]
    assert user.isdigit()
    assert int(user) > 0


def test_the_dockerfile_is_there_and_builds_from_files_that_reach_it() -> None:
    """What COPY names must exist, and must not be kept away by .dockerignore."""
    for name in OURS:
        build = SERVICES[name]["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    sources = set()
    for copy in instructions("COPY"):
        words = copy.split()
        if not words[0].startswith("--from="):
            sources |= set(words[:-1])
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, f".dockerignore keeps {source} from the builder"


def test_what_the_package_is_built_from_is_copied() -> None:
    """`pip install .` needs the packages, the README and the licence that pyproject.toml names."""
    config = PYPROJECT
    packages = config["tool"]["setuptools"]["packages"]["find"]["include"]
    wanted = {pattern for pattern in packages if "*" not in pattern}
    wanted |= {
        "pyproject.toml",
        "setup.py",
        config["project"]["readme"],
        *config["project"]["license-files"],
    }
    copied = {PurePosixPath(word).as_posix() for c in instructions("COPY") for word in c.split()}
    assert wanted <= copied


def test_the_image_starts_a_program_that_the_package_installs() -> None:
    """ENTRYPOINT is a console script, CMD one of its commands."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "scripts"
    ]
    (entrypoint,) = json.loads(instructions("ENTRYPOINT")[-1])
    assert entrypoint in scripts
    assert problem_with(json.loads(instructions("CMD")[-1])) is None
    assert "PYTHONHASHSEED=0" in instructions("ENV")[0]


def test_the_readme_tells_the_ports_and_the_volumes() -> None:
    """Its table says where each service listens on this machine and where its data is."""
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", README, re.MULTILINE))
    for name, service in SERVICES.items():
        ports = {port.rpartition(":")[0] for port in service.get("ports", [])}
        volumes = {v.split(":")[0] for v in service.get("volumes", []) if not v.startswith(".")}
        row = rows[name]
        assert set(re.findall(r"127\.0\.0\.1:\d+", row)) == ports, name
        assert set(re.findall(r"[a-z]+-data", row)) == volumes, name


def test_the_example_of_an_override_in_the_readme_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """What users are told to write must pass the same checks."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (override,) = [yaml.safe_load(block) for block in blocks]
    assert set(override) <= TOP_LEVEL
    known = {key.environment for key in keys()} | {"DRIFTLINE_CONFIG"}
    for name, service in override["services"].items():
        assert name in SERVICES
        assert set(service) <= OF_A_SERVICE
        variables = service.get("environment", {})
        assert set(variables) <= known
        for secret in service.get("secrets", []):
            assert secret in override["secrets"]
        mounted = [volume.split(":")[1] for volume in service.get("volumes", [])]
        assert Path(variables["DRIFTLINE_CONFIG"]).as_posix() in mounted
