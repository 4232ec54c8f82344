"""How well the shipped `fraud` configuration does, labels 7 days late, and what risk brings it.

    DRIFTLINE_DATA=... python -m benchmarks.fraud [--file FILE] [--only shipped]

As `driftline evaluate` does it: each payment is scored at its time, by the model of the labels that
had arrived by then, with the features that lanes compute. Days 31 to 60 count. The lines below the
first leave something out: the risk windows; the terminal's history altogether, which the pipeline
knows besides by its own rate of the labels that it learned; all windows. The Handbook's features
alone, scaled into River's logistic regression, show what risk windows bring where nothing else
tells of terminals. Two minutes of CPU for a line; exits with 1 where the first misses a target.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from river import base, compose, linear_model, preprocessing

from models.transformers import EntityPast, EntityRate, UsualRatio
from stream.alert_value import AlertValue, entity_reader
from stream.durations import seconds_of
from stream.evaluation import Evaluation
from stream.learners import new_learner
from stream.rows import open_rows
from stream.schedule import label_schedule
from stream.settings import load_settings

ROC_AUC_MIN = 0.89
PR_AUC_MIN = 0.62
DELAY = "7d"
AFTER = "30d"
TOP = 100
NO_RISK: dict[str, Any] = {"features": {"risk": []}}
NO_WINDOWS: dict[str, Any] = {"features": {"risk": [], "window": []}}


class Case(NamedTuple):
    """A variant of the shipped configuration."""

    title: str
    overrides: dict[str, Any]


def of_cards(seed: int) -> base.Estimator:
    """Build the shipped pipeline without its own rate of terminals."""
    return compose.Pipeline(
        compose.TransformerUnion(
            UsualRatio("TX_AMOUNT", "CUSTOMER_ID"),
            EntityRate("CUSTOMER_ID", fading=0.3),
            EntityPast(("CUSTOMER_ID", "TERMINAL_ID")),
        ),
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(intercept_init=-5.0),
    )


def handbook(seed: int) -> base.Estimator:
    """Build a logistic regression on the amount and the windows alone."""
    return compose.Pipeline(
        compose.TransformerUnion(
            compose.Select("TX_AMOUNT"), EntityPast(("CUSTOMER_ID", "TERMINAL_ID"))
        ),
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(intercept_init=-5.0),
    )


def with_pipeline(build: Any, overrides: dict[str, Any]) -> dict[str, Any]:
    """Have the variant learn another pipeline."""
    return {**overrides, "model": {"pipeline": f"benchmarks.fraud:{build.__name__}"}}


HANDBOOKS: dict[str, Any] = {
    "features": {
        "window": [
            {"entity": "CUSTOMER_ID", "value": "TX_AMOUNT", "windows": ["1d", "7d", "30d"],
             "stats": ["count", "mean"]},
        ],
        "risk": [{"entity": "TERMINAL_ID", "windows": ["1d", "7d", "30d"], "delay": "7d"}],
    }
}  # fmt: skip
HANDBOOKS_NO_RISK: dict[str, Any] = {"features": {**HANDBOOKS["features"], "risk": []}}
CASES = {
    "shipped": Case("shipped", {}),
    "no-risk": Case("without risk windows", NO_RISK),
    "no-terminal": Case("without the terminal's history", with_pipeline(of_cards, NO_RISK)),
    "no-windows": Case("without any window", NO_WINDOWS),
    "handbook": Case("the Handbook's features", with_pipeline(handbook, HANDBOOKS)),
    "handbook-no-risk": Case(
        "the Handbook's, without risk", with_pipeline(handbook, HANDBOOKS_NO_RISK)
    ),
}


def evaluate(file: Path, overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give how the payments of the later days ranked, and the precision among cards."""
    settings = load_settings("fraud", overrides)
    alerts = AlertValue(settings.model.task, entity=entity_reader(settings, None), top=TOP)
    evaluation = Evaluation(
        settings,
        new_learner(settings),
        label_schedule(seconds_of(DELAY), None),
        alerts=alerts,
        after=seconds_of(AFTER),
    )
    with open_rows(file, settings) as rows:
        for _ in evaluation.run(rows):
            pass
    assert not evaluation.invalid, evaluation.invalid
    assert evaluation.later is not None
    return evaluation.later.values(), alerts.values()["cards"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, help="payments; the card stream without it")
    parser.add_argument("--only", choices=CASES, help="one line instead of all")
    arguments = parser.parse_args()
    if arguments.file is None and "DRIFTLINE_DATA" not in os.environ:
        parser.error("set DRIFTLINE_DATA to the folder of the card stream, or give --file")
    file = arguments.file or Path(os.environ["DRIFTLINE_DATA"]) / "card_transactions_60d.csv.gz"
    met = True
    print(
        f"{'labels ' + DELAY + ' late, days 31 to 60':34}ROC area  precision  of {TOP} cards a day"
    )
    for name, case in CASES.items():
        if arguments.only not in (None, name):
            continue
        ranked, cards = evaluate(file, case.overrides)
        area, precision = ranked["roc_auc"], ranked["pr_auc"]
        print(
            f"{case.title:34}{area:8.4f}{precision:11.4f}{cards['precision']:10.4f} "
            f"(perfect {cards['perfect']:.4f})",
            flush=True,
        )
        if name == "shipped":
            met = area >= ROC_AUC_MIN and precision >= PR_AUC_MIN
    sys.exit(not met)


if __name__ == "__main__":
    main()
