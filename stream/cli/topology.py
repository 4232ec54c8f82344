"""`driftline topology`: which way events and labels go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import ConfigOption, load
from stream.cli.errors import CommandError


def topology(
    config: ConfigOption = None,
    *,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it into a file, and print nothing.")
    ] = None,
) -> None:
    """Print which lanes read, write and keep what, with the features that each adds.

    For example:

      driftline topology -c fraud

      driftline topology -c fraud --svg topology.svg
    """
    from stream.flow import describe, flow
    from stream.flow_picture import picture

    settings = load(config)
    if svg is None:
        for line in describe(settings):
            print(line)
        return
    drawn = picture(flow(settings), f"Lanes and topics of {settings.app}")
    try:
        svg.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {svg}: {error.strerror}") from error
