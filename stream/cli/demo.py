"""`driftline demo` and `driftline simulate`; mounted by `stream.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import JsonOption, notes, out, print_json
from stream.cli.errors import CommandError

DATASET_NAMES = ("cards", "flights")

NEXT_STEPS = [
    ("driftline demo --dataset flights", "real flights, real label delays"),
    ("driftline demo --keep", "leaves it all up to look around"),
    ("driftline simulate --out cards.csv.gz", "60 days of payments as a file"),
    ("driftline evaluate cards.csv.gz -c fraud", "learn from a file, no servers"),
    ("driftline config show fraud > driftline.toml", "begin your own configuration"),
]


def register(app: typer.Typer) -> None:
    """Mount the commands of this module."""
    app.command()(demo)
    app.command()(simulate)


def demo(
    seconds: Annotated[
        float, typer.Option(min=10, max=3600, help="How long it may take, all in all.")
    ] = 60.0,
    dataset: Annotated[
        str, typer.Option(help="cards (simulated payments) or flights (real ones, 2013).")
    ] = "cards",
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE|PRESET",
            help="Another configuration for the same data, to try another model.",
            show_default="the data set's own preset",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated payments.")] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the servers and the worker up until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the whole system at work, in about a minute.

    Starts an embedded Kafka and Redis, a worker and a producer, and compares the model that
    learns with its twin that stopped learning. Nothing needs to be installed or cleaned up. Ctrl-C
    ends it in order, with the summary so far.

    Examples: driftline demo; driftline demo --dataset flights; driftline demo --seconds 20 --json
    """
    if dataset not in DATASET_NAMES:
        raise CommandError(f"--dataset {dataset}: there are {' and '.join(DATASET_NAMES)}")
    # Kafka clients, River and rich take longer to import than --help may take.
    from stream.demo import Options, run_demo
    from stream.demo_feed import FeedUnavailable
    from stream.demo_screen import Screen, console_of
    from stream.demo_worker import DemoFailed

    screen = Screen(console_of(as_json=as_json), as_json=as_json)
    try:
        summary = run_demo(Options(dataset, seconds, config, seed, keep), screen)
    except (DemoFailed, FeedUnavailable) as error:
        raise CommandError(str(error)) from None
    finally:
        screen.close()
    if as_json:
        print_json(summary.as_dict())
    else:
        screen.next_steps(NEXT_STEPS)


def simulate(
    out_file: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="A .csv or .csv.gz file to write."),
    ],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How many days.")] = 60,
    customers: Annotated[int, typer.Option(min=1, max=100_000, help="How many cards.")] = 1_000,
    terminals: Annotated[int, typer.Option(min=1, max=200_000, help="How many shops.")] = 2_000,
    change_day: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Day from which on fraudsters test cards with tiny payments instead.",
            show_default="never",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same payments.")] = 1,
) -> None:
    """Write simulated card payments, by the rules of the Fraud Detection Handbook.

    About two payments a day for each card; TX_FRAUD is the label and TX_FRAUD_SCENARIO says which
    rule made it a fraud (never use it as a feature).

    Example: driftline simulate --days 90 --change-day 45 --out cards.csv.gz
    """
    from stream.simulate import Rules, save
    from stream.simulate import simulate as draw

    rules = Rules(days, customers, terminals, change_day=change_day)
    with notes().status("drawing payments"):
        payments = draw(rules, seed)
        save(payments, out_file)
    share = payments.fraud.mean() if len(payments) else 0.0
    out().print(f"{out_file}: {len(payments):,} payments of {days} days, {share:.2%} fraud")
