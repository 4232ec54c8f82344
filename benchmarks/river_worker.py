"""The worker as it is where no compiler was at install: with River's own estimators.

python -m benchmarks.river_worker worker -c elec2
"""

from __future__ import annotations

import sys


def main() -> None:
    # An import of it fails from here on, as it does where the extension was not built.
    sys.modules["models.compiled._native"] = None  # type: ignore[assignment]
    from stream.cli import main as driftline

    driftline()


if __name__ == "__main__":
    main()
