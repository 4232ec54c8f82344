"""`driftline topology`: which way events and labels go."""

from __future__ import annotations

from stream.cli.common import ConfigOption, load


def topology(config: ConfigOption = None) -> None:
    """Print the logs and lanes that events and labels pass, with the features that each adds.

    Example: driftline topology -c fraud
    """
    from stream.topology import describe

    for line in describe(load(config)):
        print(line)
