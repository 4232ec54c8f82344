"""What all commands share: the `--config` option, loading settings, printing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from stream.cli.errors import loaded_settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from stream.settings import Settings

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        envvar="DRIFTLINE_CONFIG",
        metavar="FILE|PRESET",
        help="Configuration file, or the name of a shipped preset (fraud, elec2). "
        "Without it: driftline.toml in the current folder.",
        show_default=False,
    ),
]
PIPE_WIDTH = 240
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def load(config: str | None, overrides: dict[str, Any] | None = None) -> Settings:
    """Read the configuration and remember it for the explanation of errors."""
    # Pydantic takes longer to import than --help may take.
    from stream.settings import load_settings

    settings = load_settings(config, overrides)
    loaded_settings.set(settings)
    return settings


def out() -> Console:
    """Return the console of results: stdout as it is now, which tests may have replaced."""
    # In a pipe or a log nothing has to fit a window, and a shortened name can't be searched for.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(file=sys.stdout, soft_wrap=True, highlight=False, width=width)


def notes() -> Console:
    """Return the console of everything that is not a result: stderr."""
    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a result for programs: one line of JSON on stdout."""
    print(json.dumps(value, default=str))


def is_stdio(file: Path) -> bool:
    """Whether the name stands for stdin."""
    return str(file) == "-"


def progress_bar(*, unit: str = "records", quiet: bool = False) -> Progress:
    """Build a progress bar on stderr; it shows nothing where nobody watches."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = notes()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[count]:,} " + unit),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
