"""How well the `fraud` pipeline does on the Fraud Detection Handbook's stream, labels 7 days late.

Run: DRIFTLINE_DATA=... PYTHONPATH=. python benchmarks/fraud.py
Each payment is scored at its time by the model of the labels that had arrived by then. Days 1-7
have no label at all, and count. A minute of CPU.
"""

from __future__ import annotations

import csv
import gzip
import os
from datetime import datetime
from pathlib import Path
from time import process_time

import numpy as np

from models import Task, build
from models.ranking import average_precision, groups_of, roc_auc

DAY_S = 86_400.0
LABEL_DELAY_S = 7 * DAY_S


def main() -> None:
    events, truths, times = [], [], []
    with gzip.open(Path(os.environ["DRIFTLINE_DATA"]) / "card_transactions_60d.csv.gz", "rt") as f:
        for row in csv.DictReader(f):
            times.append(datetime.fromisoformat(row["TX_DATETIME"]).timestamp())
            truths.append(row["TX_FRAUD"] == "1")
            events.append(
                {
                    "TX_AMOUNT": float(row["TX_AMOUNT"]),
                    "CUSTOMER_ID": row["CUSTOMER_ID"],
                    "TERMINAL_ID": row["TERMINAL_ID"],
                }
            )
    model = build("fraud", Task.BINARY, seed=0)
    scores, n_learned = [], 0
    learn_s = predict_s = 0.0
    for day in range(61):
        end = int(np.searchsorted(times, times[0] + (day + 1) * DAY_S))
        for event, time in zip(events[len(scores) : end], times[len(scores) : end], strict=True):
            start = process_time()
            while times[n_learned] <= time - LABEL_DELAY_S:
                model.learn_one(events[n_learned], truths[n_learned])
                n_learned += 1
            learned = process_time()
            scores.append(model.predict_proba_one(event).get(True, 0.0))
            learn_s += learned - start
            predict_s += process_time() - learned
    truth, score = np.array(truths), np.array(scores)
    for first in (1, 31):
        period = np.array(times) >= times[0] + (first - 1) * DAY_S
        groups = groups_of(truth[period], score[period])
        print(
            f"days {first:2}-60: ROC area {roc_auc(*groups):.3f}, "
            f"average precision {average_precision(*groups):.3f}"
        )
    print(
        f"us per event: predict {predict_s / len(events) * 1e6:.1f}, "
        f"learn {learn_s / n_learned * 1e6:.1f} (timer included)"
    )


if __name__ == "__main__":
    main()
