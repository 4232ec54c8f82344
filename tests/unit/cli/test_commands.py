"""Commands without servers: what they print, and what they say when they can't."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli import app
from stream.cli.errors import CommandError, explain
from stream.reference import reference
from stream.settings import PRESETS, load_settings

NOBODY = "127.0.0.1:1"
COMMANDS = [
    "config check",
    "config reference",
    "config show",
    "topics create",
    "topics list",
    "produce",
    "tail",
    "evaluate",
    "replay",
    "versions list",
    "versions show",
    "versions verify",
    "versions export",
    "importance",
    "reconcile",
    "recover",
    "dlq list",
    "dlq show",
    "dlq replay",
]


def run(*arguments: str, **options):
    """Run a command in this process; nothing may escape as a stack trace."""
    result = CliRunner().invoke(app, list(arguments), **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DRIFTLINE_KAFKA__BOOTSTRAP", "DRIFTLINE_REDIS__URL", "DRIFTLINE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """400 rows whose label is plain to see, and one that is refused."""
    rows = "".join(f"{i},{i % 2},{i % 2}\n" for i in range(400))
    file = tmp_path / "rows.csv"
    file.write_text(f"id,a,label\n{rows}400,far,1\n")
    return file


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration with one feature, and servers that nobody runs."""
    file = tmp_path / "driftline.toml"
    file.write_text(
        f'kafka.bootstrap = "{NOBODY}"\nredis.url = "redis://{NOBODY}/0"\n[event.features.a]\n'
    )
    return str(file)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    """With an example, or nothing that needs one."""
    result = run(*command.split(), "--help")

    assert result.exit_code == 0
    assert "driftline " in result.stdout or command == "config reference"


def test_help_does_not_load_the_heavy_libraries() -> None:
    """Completion must answer at once: no pydantic, Kafka client, River or Faust."""
    code = (
        "import sys, stream.cli; "
        "heavy = {'pydantic', 'kafka', 'aiokafka', 'confluent_kafka', 'river', 'faust', 'numpy', "
        "'redis', 'msgspec'}; print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.toml")))
def test_presets_are_right(preset: str) -> None:
    """Each shipped configuration passes its own check."""
    result = run("config", "check", "-c", preset)

    assert result.exit_code == 0, result.stderr
    assert "OK" in result.stdout


def test_check_names_what_is_derived() -> None:
    """Features that no event brings, where there are any."""
    told = run("config", "check", "-c", "fraud").stdout
    assert "derived" in told
    assert "13: CUSTOMER_ID.count.1d" in told
    assert "derived" not in run("config", "check", "-c", "elec2").stdout


def test_check_names_every_wrong_key(tmp_path: Path) -> None:
    """All at once, with the fix, and exit code 1."""
    file = tmp_path / "wrong.toml"
    file.write_text('[kafka]\nbootstap = "x"\n[join]\nttl = "7 days"\n[event.features.a]\n')

    result = run("config", "check", "-c", str(file))

    assert result.exit_code == 1
    assert "kafka.bootstap: no such setting" in result.stderr
    assert "join.ttl: '7 days' is not a duration: write 250ms" in result.stderr


def test_check_finds_a_misspelt_pipeline(tmp_path: Path) -> None:
    """Before the worker does."""
    file = tmp_path / "wrong.toml"
    file.write_text('model.pipeline = "logistics"\n[event.features.a]\n')

    result = run("config", "check", "-c", str(file))

    assert result.exit_code == 1
    assert "there are" in result.stderr
    assert "logistic" in result.stderr


def test_a_missing_configuration_names_the_presets(tmp_path: Path) -> None:
    """The first thing that a new user meets."""
    result = run("config", "check", "-c", str(tmp_path / "absent.toml"))

    assert result.exit_code == 1
    assert "--config fraud" in result.stderr


def test_the_configuration_can_be_named_by_the_environment(config: str) -> None:
    """For containers."""
    assert run("config", "check", env={"DRIFTLINE_CONFIG": config}).exit_code == 0


def test_show_prints_a_preset_to_start_from(tmp_path: Path) -> None:
    """It can be saved and used as it is."""
    file = tmp_path / "driftline.toml"
    file.write_text(run("config", "show", "fraud").stdout)

    assert load_settings(file) == load_settings("fraud")
    assert run("config", "show", "nope").exit_code == 1
    assert "elec2" in run("config", "show", "nope").stderr


def test_reference_prints_the_page() -> None:
    """As docs/configuration.md has it."""
    assert run("config", "reference").stdout == reference()


@pytest.mark.parametrize(
    "command",
    ["topics create", "topics list", "produce FILE", "tail events", "replay"],
)
def test_a_missing_kafka_is_one_line(
    command: str, config: str, csv_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the address, the setting and its environment variable."""
    monkeypatch.setattr("stream.cli.topics.CONNECT_TIMEOUT_MS", 500)
    monkeypatch.setattr("stream.kafka_log.CONNECT_TIMEOUT_S", 0.5)

    result = run(*command.replace("FILE", str(csv_file)).split(), "-c", config)

    assert result.exit_code == 1
    assert f"no Kafka answers at {NOBODY}" in result.stderr
    assert "DRIFTLINE_KAFKA__BOOTSTRAP" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        "versions list",
        "versions show latest",
        "importance",
        "reconcile",
        "replay --version latest",
    ],
)
def test_a_missing_redis_is_one_line(command: str, config: str) -> None:
    """Likewise."""
    result = run(*command.split(), "-c", config)

    assert result.exit_code == 1
    assert f"no Redis answers at redis://{NOBODY}/0" in result.stderr
    assert "DRIFTLINE_REDIS__URL" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("produce absent.csv", "no file absent.csv"),
        ("evaluate absent.csv", "no file absent.csv"),
        ("evaluate FILE --label-delay 7d", "event.time is not configured"),
        ("evaluate FILE --label-delay soon", "is not a duration"),
        ("evaluate FILE --pipeline nope", "no pipeline 'nope'"),
        ("evaluate FILE.xlsx", "name it .csv"),
        ("evaluate - --frozen-after 0.1", "give --limit"),
        ("evaluate", "or give --drift-truth"),
        ("produce FILE --no-labels --labels-only", "nothing to publish"),
        ("produce FILE --label-delay 1s --label-delay-events 2", "not both"),
        ("tail nope", "there are events, labels"),
        ("replay --version latest --to-position 3", "leave --to-position out"),
    ],
)
def test_mistakes_are_explained(arguments: str, says: str, config: str, csv_file: Path) -> None:
    """Each with what to do, and none with a stack trace."""
    result = run(*arguments.replace("FILE", str(csv_file)).split(), "-c", config)

    assert result.exit_code == 1
    assert says in result.stderr


def test_an_unknown_error_keeps_its_stack_trace() -> None:
    """It is our bug: hiding it would hide it from us."""
    assert explain(ValueError("bug")) is None
    assert explain(CommandError("do this")) == "do this"


def test_evaluate_learns(config: str, csv_file: Path) -> None:
    """On a stream that is easy to learn, nearly everything is right; refused rows are counted."""
    result = run("evaluate", str(csv_file), "-c", config, "--json")
    report = json.loads(result.stdout)

    assert report["metrics"]["total"]["accuracy"] > 0.95
    assert (report["rows"], report["events"], report["learned"]) == (401, 400, 400)
    assert report["invalid"] == {"wrong_type": 1}
    assert report["version"] == "v1-400"


def test_evaluate_equals_a_plain_loop(config: str, csv_file: Path) -> None:
    """With no delay: score, then learn, one by one."""
    from models.pipelines import build
    from models.types import Task

    report = json.loads(run("evaluate", str(csv_file), "-c", config, "--json").stdout)

    model = build("logistic", Task.BINARY, 1)
    losses = []
    for i in range(400):
        x, y = {"a": float(i % 2)}, bool(i % 2)
        losses.append((model.predict_proba_one(x).get(True, 0.0) - y) ** 2)
        model.learn_one(x, y)
    assert report["metrics"]["total"]["brier"] == pytest.approx(sum(losses) / 400, rel=1e-12)


def test_evaluate_tells_which_features_matter(config: str, csv_file: Path) -> None:
    """The mean push of the last alerts, each explained by the model of its time."""
    from models.pipelines import build
    from models.reasons import LinearExplainer
    from models.types import Task

    with Path(config).open("a") as file:
        file.write('[reasons]\nimportance_n = 50\nnames = {a = "odd ones"}\n')
    arguments = ("evaluate", str(csv_file), "-c", config, "--importance")
    found = json.loads(run(*arguments, "--json").stdout)["importance"]

    model = build("logistic", Task.BINARY, 1)
    pushes = []
    for i in range(400):
        x, y = {"a": float(i % 2)}, bool(i % 2)
        if i and model.predict_proba_one(x).get(True, 0.0) >= 0.5:
            *scalers, regression = model.steps.values()
            pushes.append(abs(LinearExplainer(scalers, regression)(x).contributions[0]))
        model.learn_one(x, y)
    assert len(pushes) > 100
    assert found["features"]["a"] == pytest.approx(sum(pushes[-50:]) / 50, rel=1e-9)
    assert (found["of"], found["n"], found["unit"]) == ("alerts", 50, "log_odds")
    shown = run(*arguments).stdout
    assert "the last 50 alerts, in log-odds" in shown
    assert "odd ones" in shown


@pytest.mark.parametrize("command", ["importance", "evaluate FILE --importance"])
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('[reasons]\nof = "none"', 'reasons.of = "none": set it to "alerts" or "scores"'),
        ('[model]\ntask = "regression"\npipeline = "linear"', 'set reasons.of = "scores"'),
        ('[model]\ntask = "multiclass"\npipeline = "naive-bayes"', "task have no reasons"),
    ],
)
def test_importance_names_the_setting_that_makes_it(
    command: str, settings: str, says: str, config: str, csv_file: Path
) -> None:
    """Before any server is asked: what is not explained has no importance."""
    Path(config).write_text(f"[event.features.a]\n{settings}\n")
    result = run(*command.replace("FILE", str(csv_file)).split(), "-c", config)
    assert result.exit_code == 1
    assert says in result.stderr


def test_evaluate_is_the_same_every_time(config: str, csv_file: Path) -> None:
    """The fingerprint proves it; a delay changes what was known and so the scores."""
    once, again, late = (
        json.loads(run("evaluate", str(csv_file), "-c", config, "--json", *more).stdout)
        for more in ([], [], ["--label-delay-events", "50"])
    )

    assert once["fingerprint"] == again["fingerprint"]
    assert once["metrics"] == again["metrics"]
    assert late["metrics"] != once["metrics"]
    assert late["learned"] == 400


def test_evaluate_compares_with_a_frozen_model(tmp_path: Path, config: str) -> None:
    """The concept turns round half way: who has stopped learning is wrong from there."""
    rows = "".join(f"{i},{i % 2},{(i + (i >= 500)) % 2}\n" for i in range(1000))
    file = tmp_path / "turning.csv"
    file.write_text(f"id,a,label\n{rows}")

    arguments = ("evaluate", str(file), "-c", config, "--frozen-after", "0.5")
    report = json.loads(run(*arguments, "--json").stdout)

    assert report["frozen"]["after"] == 499
    assert report["frozen"]["frozen"]["accuracy"] < 0.1
    assert report["frozen"]["learning"]["accuracy"] > 0.5
    assert any(drift["direction"] == "worsened" for drift in report["drifts"])
    assert "after 499 learned" in run(*arguments).stdout


def test_evaluate_reads_stdin(config: str) -> None:
    """JSON lines."""
    lines = "".join(json.dumps({"id": i, "a": i % 2, "label": i % 2}) + "\n" for i in range(50))

    result = run("evaluate", "-", "-c", config, "--json", input=lines)

    assert json.loads(result.stdout)["learned"] == 50


def test_pace_is_kept_and_caught_up() -> None:
    """Who was held up goes faster until the plan is met again."""
    from stream.cli.produce import Pace

    class Publisher:
        def serve(self) -> None:
            pass

    pace = Pace(1000.0, Publisher())  # type: ignore[arg-type]
    started = time.perf_counter()
    for n in range(1, 301):
        if n == 100:
            time.sleep(0.05)
        pace.wait(n)

    assert 0.29 <= time.perf_counter() - started < 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "--yes"], "say which letters"),
        (["replay", "--all", "--json"], "--json can't ask"),
        (["replay", "3-17", "--yes"], "write it as the list does, 3/17"),
        (["list", "--reason", "typo"], "no reason typo: there are bad_label"),
        (["list", "--topic", "scores"], "it is events or labels"),
        (["list", "--since", "yesterday"], "neither a duration"),
    ],
)
def test_letters_are_not_chosen_by_mistake(config: str, arguments: list[str], message: str) -> None:
    """What is misspelt, or left out, must not mean everything."""
    result = run("dlq", *arguments, "-c", config)

    assert result.exit_code == 1
    assert message in result.stderr
