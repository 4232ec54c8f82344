"""A simulated stream of card payments whose fraud changes half-way.

The rules are public: chapter 3 of Le Borgne, Siblini, Lebichot, Bontempi, *Reproducible Machine
Learning for Credit Card Fraud Detection - Practical Handbook* (Université Libre de Bruxelles,
2022, https://fraud-detection-handbook.github.io). We follow the rules and share no code:

- **customers** live on a grid of 100 by 100, spend around their own mean, U(5, 100), with a
  deviation of half of it, and pay Poisson(U(0, 4)) times a day, at terminals within `radius`;
- **times** are normal around noon (deviation 20,000 s) and stay within the day; an amount that is
  drawn negative is drawn again from U(0, 2 mean);
- **scenario 1**: every amount above 220 is a fraud;
- **scenario 2**: each day 2 terminals are compromised; all their payments of the next 28 days are;
- **scenario 3**: each day 3 customers' card data leak; for 14 days a random third of their
  payments is fraudulent and five times as large.

Our own addition makes a frozen model fail, **scenario 4**: from `change_day` on the gangs stop
making large payments (scenario 1 ends, large amounts are honest) and *test stolen cards*: bots pay
0.50 to 3.00 with anybody's card, at any hour, at a fixed hundredth of the terminals. Each sign of
it (tiny amounts, terminals with a clean record) meant "honest" before.

Everything is a function of the rules and the seed, drawn by whole arrays: the Handbook's own size
(5,000 customers, 10,000 terminals, 183 days: 1.75 million payments) takes two seconds.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

DAY_S = 86_400
START = "2018-04-01"
LABEL_DELAY_DAYS = 7
"""A cardholder finds and reports a fraud within about a week (the Handbook's delay)."""

GRID = 100.0
LARGE_AMOUNT = 220.0
TERMINAL_FRAUD_DAYS = 28
CUSTOMER_FRAUD_DAYS = 14
CUSTOMER_FRAUD_SHARE = 1 / 3
CUSTOMER_FRAUD_FACTOR = 5.0
TESTING_AMOUNTS = (0.5, 3.0)
TESTING_TERMINALS_SHARE = 0.01

FIELDS = (
    "TRANSACTION_ID",
    "TX_DATETIME",
    "CUSTOMER_ID",
    "TERMINAL_ID",
    "TX_AMOUNT",
    "TX_FRAUD",
    "TX_FRAUD_SCENARIO",
)
_CUSTOMERS_AT_ONCE = 256  # 256 customers by 10,000 terminals of distances: 20 MB, not 400.


@dataclass(frozen=True, slots=True)
class Rules:
    """What is simulated; the defaults are the Handbook's, with no change.

    `card_testing_share` is the volume of scenario 4 as a share of all honest payments.
    """

    days: int = 60
    n_customers: int = 5_000
    n_terminals: int = 10_000
    radius: float = 5.0
    terminals_compromised_daily: int = 2
    customers_compromised_daily: int = 3
    change_day: int | None = None
    card_testing_share: float = 0.03

    def __post_init__(self) -> None:
        """Refuse rules that nothing can be drawn from."""
        if min(self.days, self.n_customers, self.n_terminals) < 1:
            raise ValueError("days, customers and terminals must be at least 1")
        if self.radius <= 0 or not 0 <= self.card_testing_share <= 1:
            raise ValueError("radius must be above 0, and card_testing_share between 0 and 1")


@dataclass(frozen=True, slots=True)
class Payments:
    """Simulated payments in time order, a column each; the id of a payment is its row.

    `time_s` counts from midnight of `START`; `scenario` is 0 for honest payments and is the
    answer: never a feature.
    """

    time_s: Integers
    customer: Integers
    terminal: Integers
    amount: Floats
    scenario: Integers

    def __len__(self) -> int:
        """How many payments there are."""
        return len(self.time_s)

    @property
    def fraud(self) -> Flags:
        """Whether each payment is a fraud, of whichever scenario."""
        return self.scenario > 0

    @property
    def day(self) -> Integers:
        """Day of each payment, from 0."""
        return self.time_s // DAY_S

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield payments as flat rows with the Handbook's field names."""
        for values in self._lines():
            yield dict(zip(FIELDS, values, strict=True))

    def write_csv(self, file: TextIO) -> None:
        """Write a header and all payments."""
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows(self._lines())

    def _lines(self) -> Iterator[tuple[Any, ...]]:
        return zip(
            range(len(self)),
            datetimes(self.time_s),
            self.customer.tolist(),
            self.terminal.tolist(),
            self.amount.tolist(),
            self.fraud.astype(int).tolist(),
            self.scenario.tolist(),
            strict=True,
        )


def simulate(rules: Rules, seed: int) -> Payments:
    """Draw all payments of these rules.

    Examples
    --------
    >>> payments = simulate(Rules(days=3, n_customers=50, n_terminals=100), seed=7)
    >>> len(payments), len(payments) == len(simulate(Rules(3, 50, 100), seed=7))
    (156, True)
    >>> next(payments.rows())["TX_DATETIME"]
    '2018-04-01 02:30:22'
    """
    random = np.random.default_rng(seed)
    honest = _honest_payments(rules, random)
    payments = _commit_frauds(rules, random, honest)
    order = np.argsort(payments.time_s, kind="stable")
    return Payments(*(column[order] for column in _columns(payments)))


def save(payments: Payments, path: Path) -> None:
    """Write a CSV file, compressed if its name ends in `.gz`; equal payments give equal bytes."""
    if path.suffix != ".gz":
        with path.open("w", encoding="utf-8", newline="") as plain:
            payments.write_csv(plain)
        return
    # No name and no time in gzip's header, or the same payments would differ from run to run.
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        payments.write_csv(text)


def datetimes(time_s: Integers, start: str = START) -> list[str]:
    """Write seconds since midnight of `start` as `YYYY-MM-DD HH:MM:SS`.

    Examples
    --------
    >>> datetimes(np.array([31, 86_400]))
    ['2018-04-01 00:00:31', '2018-04-02 00:00:00']
    """
    moments = np.datetime64(start, "s") + time_s.astype("timedelta64[s]")
    return [text.replace("T", " ") for text in np.datetime_as_string(moments).tolist()]


def _honest_payments(rules: Rules, random: np.random.Generator) -> Payments:
    n_customers = rules.n_customers
    homes = random.uniform(0, GRID, (n_customers, 2))
    mean_amount = random.uniform(5, 100, n_customers)
    payments_daily = random.uniform(0, 4, n_customers)
    shops = random.uniform(0, GRID, (rules.n_terminals, 2))
    first, reachable = _terminals_in_reach(homes, shops, rules.radius)
    n_reachable = np.diff(first)

    counts = random.poisson(payments_daily[:, None], (n_customers, rules.days)).ravel()
    customer = np.repeat(np.repeat(np.arange(n_customers), rules.days), counts)
    day = np.repeat(np.tile(np.arange(rules.days), n_customers), counts)
    second = random.normal(DAY_S / 2, 20_000, len(day)).astype(np.int64)
    # Who has no terminal in reach can't pay; a time outside of its day is no payment either.
    kept = (second > 0) & (second < DAY_S) & (n_reachable[customer] > 0)
    customer, day, second = customer[kept], day[kept], second[kept]

    mean = mean_amount[customer]
    amount = random.normal(mean, mean / 2)
    amount = np.where(amount < 0, random.uniform(0, 2 * mean), amount).round(2)
    choice = (random.random(len(customer)) * n_reachable[customer]).astype(np.int64)
    terminal = reachable[first[customer] + choice]
    return Payments(day * DAY_S + second, customer, terminal, amount, np.zeros_like(customer))


def _terminals_in_reach(homes: Floats, shops: Floats, radius: float) -> tuple[Integers, Integers]:
    """List each customer's terminals one after another, and where each one's begin."""
    found: list[Integers] = []
    counts: list[Integers] = []
    for start in range(0, len(homes), _CUSTOMERS_AT_ONCE):
        some = homes[start : start + _CUSTOMERS_AT_ONCE]
        apart = np.square(some[:, None, 0] - shops[None, :, 0])
        apart += np.square(some[:, None, 1] - shops[None, :, 1])
        near = apart < radius * radius
        found.append(np.nonzero(near)[1])
        counts.append(near.sum(axis=1))
    first = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return first, np.concatenate(found)


def _commit_frauds(rules: Rules, random: np.random.Generator, payments: Payments) -> Payments:
    """Mark and change payments, a scenario after another: a later one wins, as in the Handbook."""
    change_day = rules.days if rules.change_day is None else rules.change_day
    large = (payments.amount > LARGE_AMOUNT) & (payments.day < change_day)
    scenario = large.astype(np.int64)

    drawn = _draw_daily(random, rules.days, rules.n_terminals, rules.terminals_compromised_daily)
    scenario[_compromised(drawn, payments.terminal, payments.day, TERMINAL_FRAUD_DAYS)] = 2

    drawn = _draw_daily(random, rules.days, rules.n_customers, rules.customers_compromised_daily)
    amount = payments.amount
    leaked = _compromised(drawn, payments.customer, payments.day, CUSTOMER_FRAUD_DAYS)
    stolen = leaked & (random.random(len(payments)) < CUSTOMER_FRAUD_SHARE)
    amount = np.where(stolen, (amount * CUSTOMER_FRAUD_FACTOR).round(2), amount)
    scenario[stolen] = 3

    marked = Payments(payments.time_s, payments.customer, payments.terminal, amount, scenario)
    if change_day >= rules.days:
        return marked
    testing = _card_testing(rules, random, len(payments), change_day)
    pairs = zip(_columns(marked), _columns(testing), strict=True)
    return Payments(*(np.concatenate(pair) for pair in pairs))


def _draw_daily(random: np.random.Generator, days: int, n: int, n_daily: int) -> Integers:
    """Draw `n_daily` different ones of `n` for each day: an array of days by `n_daily`."""
    take = min(n_daily, n)
    rows = [random.choice(n, take, replace=False) for _ in range(days)]
    return np.array(rows, np.int64).reshape(days, take)


def _compromised(drawn: Integers, who: Integers, day: Integers, n_days: int) -> Flags:
    """Tell which payments fall on one of the `n_days` days from the day its `who` was drawn."""
    days, _ = drawn.shape
    n = int(max(who.max(initial=-1), drawn.max(initial=-1))) + 1
    # A difference array: +1 where a period begins, -1 where it ends, then a running sum.
    steps = np.zeros((days + n_days + 1, n), np.int32)
    for begin, ones in enumerate(drawn):
        steps[begin, ones] += 1
        steps[begin + n_days, ones] -= 1
    flags: Flags = np.cumsum(steps, axis=0)[day, who] > 0
    return flags


def _card_testing(
    rules: Rules, random: np.random.Generator, n_honest: int, change_day: int
) -> Payments:
    n_terminals = max(1, round(rules.n_terminals * TESTING_TERMINALS_SHARE))
    terminals = random.choice(rules.n_terminals, n_terminals, replace=False)
    days_left = rules.days - change_day
    n = random.poisson(rules.card_testing_share * n_honest * days_left / rules.days)
    return Payments(
        time_s=random.integers(change_day * DAY_S, rules.days * DAY_S, n),
        customer=random.integers(0, rules.n_customers, n),
        terminal=random.choice(terminals, n),
        amount=random.uniform(*TESTING_AMOUNTS, n).round(2),
        scenario=np.full(n, 4),
    )


def _columns(payments: Payments) -> tuple[Any, ...]:
    return (
        payments.time_s,
        payments.customer,
        payments.terminal,
        payments.amount,
        payments.scenario,
    )
