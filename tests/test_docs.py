"""README and docs/ are held to the code: commands, links, topics, metrics, reasons, modules."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest
from prometheus_client import Counter

from models.errors import Refusal
from stream.metrics import ClockMetrics, WorkerMetrics
from stream.settings import PRESETS
from stream.topics import TOPICS
from tests.command_lines import commands, commands_in_markdown, problem_with
from tests.source_files import MODULES, ROOT, module_name

README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
DAY_MS = 86_400_000


def text_of(page: Path) -> str:
    """Read a page."""
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """List what can be linked to on a page: its headings as GitHub writes them."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    """List the metrics of workers and of the clocks: type and labels by name."""
    found = {}
    registries = WorkerMetrics().registry, ClockMetrics().registry
    for collector in (one for registry in registries for one in registry._collector_to_names):
        for family in collector.collect():
            suffix = "_total" if isinstance(collector, Counter) else ""
            labels = tuple(getattr(collector, "_labelnames", ()))
            found[family.name + suffix] = (str(family.type), labels)
    return found


def reasons() -> set[str]:
    """List the reasons that the code gives for dead letters."""
    found = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(text_of(path))):
            is_reason = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "InvalidMessage"
            )
            if is_reason and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_parses(page: Path) -> None:
    """What is copied from a page into a terminal has to work."""
    names = commands() | {name.partition(" ")[0] for name in commands()}
    problems = {
        " ".join(arguments): problem_with(arguments)
        for arguments in commands_in_markdown(text_of(page))
        # A command or a group alone is named, not run: `driftline tail`.
        if " ".join(arguments) not in names
    }
    assert {line: problem for line, problem in problems.items() if problem is not None} == {}


def test_the_readme_has_command_lines() -> None:
    """The check above must not pass because it finds nothing."""
    assert len(commands_in_markdown(text_of(README))) > 15


def test_every_command_is_told() -> None:
    """A command that is nowhere named is a command that nobody finds."""
    everything = " ".join(text_of(page) for page in PAGES if page.name != "CHANGELOG.md")
    assert [name for name in sorted(commands()) if f"driftline {name}" not in everything] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Relative links and anchors resolve; the rest is not ours to keep."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    """Folders and files in inline code exist."""
    folders = "stream|models|tests|docs|deploy|scripts|benchmarks"
    for name in re.findall(rf"`((?:{folders})/[\w./]*)`", text_of(page)):
        assert (ROOT / name).exists(), name


def test_the_topics_of_the_readme_are_those_of_the_code() -> None:
    """Names, keys, values, writers, readers, partitions and retention."""
    rows = re.findall(r"^\| `<app>\.([\w-]+)` \|(.*)\|$", text_of(README), re.MULTILINE)
    told = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}
    real = {}
    for topic in TOPICS:
        days = topic.retention_ms // DAY_MS
        kept = "for ever" if topic.retention_ms < 0 else f"{days} days"
        partitions = "1" if topic.one_partition else "`kafka.partitions`"
        who = [topic.written_by, topic.read_by]
        real[topic.name] = [topic.key, topic.value, *who, partitions, kept]
    assert told == real


def test_the_metrics_of_the_readme_are_those_of_the_code() -> None:
    """Name, type and labels."""
    rows = re.findall(
        r"^\| `(driftline_\w+)` \| (counter|gauge|histogram) \|([^|]*)\|.*\|$",
        text_of(README),
        re.MULTILINE,
    )
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", cell))) for name, kind, cell in rows}
    assert told == metrics()


def test_operations_speaks_of_every_metric_and_of_no_other() -> None:
    """What is measured is explained; what alerts are written on exists."""
    page = text_of(OPERATIONS)
    rows = set(re.findall(r"^\| `(driftline_\w+)` \|", page, re.MULTILINE))
    named = {re.sub(r"_bucket$", "", name) for name in re.findall(r"driftline_\w+", page)}
    assert rows == set(metrics())
    assert named == set(metrics())


def test_operations_explains_every_reason_of_a_dead_letter() -> None:
    """Whoever reads a dead letter looks its reason up."""
    table = text_of(OPERATIONS).partition("## Dead letters")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (both|events|labels) \|", table, re.MULTILINE)
    assert {reason for reason, _ in rows} == reasons()


def test_operations_explains_every_reason_of_a_refused_version() -> None:
    """Whoever is paged for a refused version looks its reason up."""
    table = text_of(OPERATIONS).partition("### A version is refused")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert rows == [str(reason) for reason in Refusal]


def test_settings_and_variables_that_are_named_exist() -> None:
    """`join.ttl` in a text is a key that can be set."""
    from stream.reference import keys

    known = {key.name for key in keys()}
    sections = {name.partition(".")[0] for name in known if "." in name}
    variables = {key.environment for key in keys()} | {"DRIFTLINE_CONFIG", "DRIFTLINE_LOG_LEVEL"}
    for page in PAGES:
        text = text_of(page)
        for name in re.findall(r"`(\w+\.[a-z_][\w.]*)(?: = \w+)?`", text):
            if name.partition(".")[0] in sections and not (ROOT / name).exists():
                assert name in known or name.startswith("event.features."), (page.name, name)
        for variable in re.findall(r"\b(DRIFTLINE_\w+)", text):
            assert variable in variables, (page.name, variable)


def docstring_of(file: str) -> str:
    """Read a module's docstring."""
    return ast.get_docstring(ast.parse(text_of(ROOT / file))) or ""


def modules_in(folder: str) -> set[str]:
    """List the modules of a package."""
    return {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}


def test_the_map_of_the_shell_names_every_module() -> None:
    """The docstring is the way in: a module that is missing there is not found."""
    named = re.findall(r"^    (\w+)  +\S", docstring_of("stream/__init__.py"), re.MULTILINE)
    assert sorted(named) == sorted(modules_in("stream"))


def test_the_story_of_the_core_names_every_module() -> None:
    """The core's docstring tells a learner's life and lists the modules after it."""
    named = set(re.findall(r"`(\w+)`", docstring_of("models/__init__.py")))
    assert modules_in("models") | {"stores"} <= named


def test_the_map_of_the_commands_names_every_module() -> None:
    """A module a subject, and what they share."""
    named = re.findall(r"^    (\w+)  +\S", docstring_of("stream/cli/__init__.py"), re.MULTILINE)
    assert modules_in("stream/cli") - {"store"} == set(named) - {"store"}


def test_the_map_imports_nothing() -> None:
    """`import stream.settings` must not load Faust."""
    tree = ast.parse(text_of(ROOT / "stream" / "__init__.py"))
    assert [type(node).__name__ for node in tree.body] == ["Expr"]


def test_the_presets_that_are_named_are_shipped() -> None:
    """`-c fraud` works on every machine."""
    shipped = {path.stem for path in PRESETS.glob("*.toml")}
    for page in PAGES:
        for arguments in commands_in_markdown(text_of(page)):
            for flag, value in itertools.pairwise(arguments):
                if flag in ("-c", "--config") and not value.endswith(".toml"):
                    assert value in shipped, (page.name, value)


def test_modules_have_a_first_line_that_says_what_they_are() -> None:
    """The first line of a docstring is what the map is written from."""
    for path in MODULES:
        text = ast.get_docstring(ast.parse(text_of(path))) or ""
        assert len(text.splitlines()[0]) > 20, module_name(path)
