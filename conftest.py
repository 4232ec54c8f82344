"""Where the compiled estimators were not built, their modules cannot be imported for doctests."""

from pathlib import Path

from models.compiled import AVAILABLE

_PACKAGE = Path(__file__).parent / "models" / "compiled"
collect_ignore = (
    []
    if AVAILABLE
    else [
        str(path)
        for path in _PACKAGE.glob("*.py")
        if "from models.compiled._native" in path.read_text(encoding="utf-8")
    ]
)
