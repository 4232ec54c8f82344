"""`driftline evaluate` on payments: events with times, cards, costs, and what no skill reaches."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream.cli import app


def run(*arguments: str) -> Any:
    """Call the command."""
    return CliRunner().invoke(app, ["evaluate", *arguments])


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    """Write 10 days of payments; a terminal has been tampered with."""
    rng = random.Random(1)
    lines = ["TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD"]
    for i in range(2_000):
        day, second = divmod(i * 432, 86_400)
        time = f"2018-04-{day + 1:02}T{second // 3600:02}:{second % 3600 // 60:02}:00Z"
        terminal = rng.randrange(20)
        fraud = int(terminal == 3 and rng.random() < 0.9)
        lines.append(f"{i},{time},{rng.randrange(150)},{terminal},{10 + terminal},{fraud}")
    file = tmp_path / "payments.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_alerts_are_counted_priced_and_ranked_by_card(payments: Path) -> None:
    """Of payments that are all from long ago."""
    result = run(str(payments), "-c", "fraud", "--top", "5", "--costs", "2:TX_AMOUNT", "--json")
    report = json.loads(result.stdout)
    assert (report["events"], report["invalid"]) == (2_000, {})
    alerts = report["alerts"]
    assert 0 < alerts["found"] <= alerts["alerts"] < 200
    assert alerts["alert_rate"] == alerts["alerts"] / 2_000
    money = alerts["money"]
    assert money["lost_without_alerts"] == 13.0 * alerts["positives"]
    assert money["prevented"] == 13.0 * alerts["found"]
    assert money["saved"] == 13.0 * alerts["found"] - 2.0 * alerts["alerts"]
    cards = alerts["cards"]
    assert cards["top"] == 5
    assert cards["no_skill"] < cards["precision"] <= cards["perfect"]
    assert report["metrics"]["baselines"]["no_skill_pr_auc"] == alerts["positives"] / 2_000


def test_alarms_are_counted_in_examples_and_in_days(
    payments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are rates of the same alarms: 2,000 payments in ten days."""
    monkeypatch.setenv("DRIFTLINE_DRIFT__DETECTOR", "river.drift:PageHinkley")
    jumpy = {"min_instances": 2, "delta": 0.0, "threshold": 0.5}
    monkeypatch.setenv("DRIFTLINE_DRIFT__OPTIONS", json.dumps(jumpy))
    report = json.loads(run(str(payments), "-c", "fraud", "--json").stdout)
    alarms = report["alarms"]
    kinds = [(signal["level"], signal["direction"]) for signal in report["drifts"]]
    assert alarms["n"] == kinds.count(("confirmed", "worsened"))
    assert alarms["n"] > 0
    assert alarms["examples_each"] == report["learned"] / alarms["n"]
    assert alarms["days_each"] == pytest.approx(10.0 / alarms["n"], rel=0.01)


def test_it_is_told_to_people(payments: Path) -> None:
    """With what no skill reaches beside the model's figures."""
    told = run(str(payments), "-c", "fraud", "--entity", "TERMINAL_ID", "--costs", "2:50").stdout
    for text in ("no skill", "card precision, top 100 a day", "alert rate", "saved", "ece"):
        assert text in told, text


def test_later_events_are_told_apart(payments: Path) -> None:
    """Their alerts add up with the earlier ones', and their ranking is that of a plain count."""
    options = ("-c", "fraud", "--label-delay", "1d", "--top", "5", "--costs", "2:TX_AMOUNT")
    whole, later = (
        json.loads(run(str(payments), *options, *more, "--json").stdout)
        for more in ((), ("--after", "6d"))
    )
    assert "later" not in whole
    assert later["metrics"] == whole["metrics"]
    assert later["later"]["after_s"] == 6 * 86_400.0
    n, n_positives = later["later"]["events"], later["later"]["positives"]
    with payments.open(encoding="utf-8") as file:
        labels = [line.strip()[-1] == "1" for line in list(file)[1 + 1_200 :]]
    assert (n, n_positives) == (len(labels), sum(labels)) == (800, later["alerts"]["positives"])
    assert later["later"]["no_skill_pr_auc"] == n_positives / n
    # The terminal is known by then: what follows is found better than what came before.
    assert later["later"]["roc_auc"] > whole["metrics"]["total"]["roc_auc"]
    assert later["later"]["pr_auc"] > whole["metrics"]["total"]["pr_auc"] > n_positives / n
    assert later["alerts"]["events"] == n
    assert later["alerts"]["cards"]["days"] == 4
    assert later["alerts"]["money"]["lost_without_alerts"] == 13.0 * n_positives
    assert "from 6 days on" in run(str(payments), *options, "--after", "6d").stdout


def test_without_the_options_nothing_is_said_of_it(payments: Path) -> None:
    """Reports stay as they were."""
    assert "alerts" not in json.loads(run(str(payments), "-c", "fraud", "--json").stdout)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--entity", "nope"), "no feature"),
        (("--costs", "5"), "ALERT:LOSS"),
        (("--costs", "5:CUSTOMER_ID"), "no feature that is a number"),
        (("--after", "soon"), "is not a duration"),
    ],
)
def test_what_can_not_be_is_refused(payments: Path, arguments: tuple[str, str], text: str) -> None:
    """Before the rows are read."""
    result = run(str(payments), "-c", "fraud", *arguments)
    assert result.exit_code != 0
    assert text in str(result.exception) + result.output
