"""The simulator keeps the Handbook's rules, and its own."""

from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.decoding import EventDecoder, LabelDecoder
from stream.messages import encode_json
from stream.settings import load_settings
from stream.simulate import (
    DAY_S,
    FIELDS,
    LARGE_AMOUNT,
    TESTING_AMOUNTS,
    Payments,
    Rules,
    save,
    simulate,
)

HANDBOOK = Rules(days=183)
CHANGED = Rules(days=60, n_customers=700, n_terminals=1_400, change_day=30)


@pytest.fixture(scope="module")
def handbook() -> Payments:
    return simulate(HANDBOOK, seed=0)


@pytest.fixture(scope="module")
def changed() -> Payments:
    return simulate(CHANGED, seed=3)


def columns(payments: Payments) -> list[np.ndarray]:
    return [getattr(payments, name) for name in Payments.__dataclass_fields__]


def test_the_handbooks_size_gives_the_handbooks_figures(handbook: Payments) -> None:
    """Its chapter 3 counts 1,754,155 payments: 978, 9,099 and 4,604 frauds, 0.837 %."""
    n = np.bincount(handbook.scenario, minlength=5)
    assert len(handbook) == pytest.approx(1_754_155, rel=0.03)
    assert n[1] == pytest.approx(978, rel=0.2)
    assert n[2] == pytest.approx(9_099, rel=0.1)
    assert n[3] == pytest.approx(4_604, rel=0.15)
    assert n[4] == 0
    assert handbook.fraud.mean() == pytest.approx(0.00837, rel=0.1)


def test_honest_amounts_and_times_follow_the_rules(handbook: Payments) -> None:
    honest = ~handbook.fraud
    # The mean of the customers' means, U(5, 100), weighted alike by their independent rates.
    assert handbook.amount[honest].mean() == pytest.approx(52.5, rel=0.05)
    assert handbook.amount[honest].max() <= LARGE_AMOUNT
    second = handbook.time_s % DAY_S
    assert second.mean() == pytest.approx(DAY_S / 2, rel=0.01)
    # A normal of 20,000 s, cut at both ends of the day.
    assert second.std() == pytest.approx(18_000, rel=0.05)
    assert handbook.day.max() == HANDBOOK.days - 1


def test_every_large_amount_is_a_fraud(handbook: Payments) -> None:
    assert handbook.fraud[handbook.amount > LARGE_AMOUNT].all()
    assert (handbook.amount[handbook.scenario == 1] > LARGE_AMOUNT).all()


def test_a_compromised_terminal_is_so_for_28_days(handbook: Payments) -> None:
    """Runs of fraudulent days of a terminal last 28 days, less the days without a payment."""
    second = handbook.scenario == 2
    days_by_terminal: dict[int, list[int]] = {}
    for terminal, day in zip(handbook.terminal[second], handbook.day[second], strict=True):
        days_by_terminal.setdefault(int(terminal), []).append(int(day))
    spans = [max(days) - min(days) + 1 for days in days_by_terminal.values()]
    # Some terminals are drawn twice, which makes a few spans longer.
    assert np.median(spans) == pytest.approx(26, abs=2)
    assert np.percentile(spans, 90) <= 28


def test_leaked_cards_pay_five_times_as_much(handbook: Payments) -> None:
    leaked = handbook.scenario == 3
    assert handbook.amount[leaked].mean() == pytest.approx(5 * 52.5, rel=0.15)


def test_the_pattern_changes_on_its_day(changed: Payments) -> None:
    before = changed.day < 30
    assert (changed.scenario[before] != 4).all()
    assert (changed.scenario[~before] != 1).all()
    assert (changed.amount[~before & ~changed.fraud] > LARGE_AMOUNT).any()

    testing = changed.scenario == 4
    low, high = TESTING_AMOUNTS
    assert changed.amount[testing].min() >= low
    assert changed.amount[testing].max() <= high
    assert len(np.unique(changed.terminal[testing])) == 14
    assert testing.sum() == pytest.approx(0.03 * (~testing & ~before).sum(), rel=0.15)


def test_the_change_leaves_what_was_before_as_it_was(changed: Payments) -> None:
    without = simulate(Rules(days=60, n_customers=700, n_terminals=1_400), seed=3)
    n = int((changed.day < 30).sum())
    for column, plain in zip(columns(changed), columns(without), strict=True):
        assert (column[:n] == plain[:n]).all()


def test_the_same_seed_gives_the_same_payments() -> None:
    rules = Rules(days=5, n_customers=100, n_terminals=200, change_day=2)
    one, same, other = simulate(rules, 7), simulate(rules, 7), simulate(rules, 8)
    assert all((a == b).all() for a, b in zip(columns(one), columns(same), strict=True))
    assert len(one) != len(other) or (one.amount != other.amount).any()


@settings(max_examples=60, deadline=None)
@given(
    days=st.integers(1, 20),
    n_customers=st.integers(1, 60),
    n_terminals=st.integers(1, 120),
    radius=st.floats(0.1, 200),
    change_day=st.none() | st.integers(0, 25),
    daily=st.integers(0, 4),
    seed=st.integers(0, 2**32),
)
def test_any_rules_give_payments_in_order_and_in_range(
    days: int,
    n_customers: int,
    n_terminals: int,
    radius: float,
    change_day: int | None,
    daily: int,
    seed: int,
) -> None:
    rules = Rules(days, n_customers, n_terminals, radius, daily, daily, change_day)
    payments = simulate(rules, seed)
    assert (np.diff(payments.time_s) >= 0).all()
    assert ((payments.time_s >= 0) & (payments.time_s < days * DAY_S)).all()
    assert ((payments.customer >= 0) & (payments.customer < n_customers)).all()
    assert ((payments.terminal >= 0) & (payments.terminal < n_terminals)).all()
    assert (payments.amount >= 0).all()
    assert np.isin(payments.scenario, range(5)).all()
    assert (payments.fraud == (payments.scenario > 0)).all()


@pytest.mark.parametrize("wrong", [{"days": 0}, {"radius": 0.0}, {"card_testing_share": 1.5}])
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Rules(**wrong)  # type: ignore[arg-type]


def test_a_saved_file_reads_back_and_is_always_the_same(tmp_path) -> None:
    payments = simulate(Rules(days=2, n_customers=40, n_terminals=100), seed=1)
    plain, packed, again = tmp_path / "a.csv", tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    for path in (plain, packed, again):
        save(payments, path)
    assert packed.read_bytes() == again.read_bytes()
    text = gzip.decompress(packed.read_bytes()).decode()
    assert text == plain.read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == FIELDS
    assert len(rows) == len(payments)
    assert [float(row["TX_AMOUNT"]) for row in rows] == payments.amount.tolist()


def test_rows_are_valid_events_and_labels_of_the_fraud_preset() -> None:
    """What is simulated and what the shipped configuration expects fit together."""
    config = load_settings("fraud")
    decode_event = EventDecoder(config.event).decode
    decode_label = LabelDecoder(config.label, config.model.task).decode
    payments = simulate(Rules(days=3, n_customers=40, n_terminals=100, change_day=1), seed=1)
    for row in payments.rows():
        event = decode_event(encode_json(row))
        assert event.entity == str(row["CUSTOMER_ID"])
        assert "TX_FRAUD_SCENARIO" not in event.features
        label = {**row, "LABEL_DATETIME": row["TX_DATETIME"]}
        assert decode_label(encode_json(label)).truth is bool(row["TX_FRAUD"])
