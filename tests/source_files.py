"""The modules of the product, for tests of the house's rules."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    path for package in ("stream", "models") for path in (ROOT / package).rglob("*.py")
)


def module_name(path: Path) -> str:
    """Give the dotted name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
