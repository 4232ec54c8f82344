"""Hold command lines in texts to the real command line: parsed, never run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from stream.cli import app

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "driftline"
_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(driftline(?: [^`]*)?)`")
_COMMAND_LINE = re.compile(r"^(\$ )?(\w+=\S* )*driftline( |$)|(\||&&) driftline ")
# What ends one command in a line of shell: the next one, a pipe, a redirection, a comment.
_END = ("&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1")


def problem_with(arguments: Sequence[str]) -> str | None:
    """Say why `driftline ARGUMENTS` would be refused by the parser, or None if it would not."""
    command: Any = typer.main.get_command(app)
    context, name, rest = None, PROGRAM, list(arguments)
    try:
        while True:
            context = command.make_context(name, rest, parent=context)
            if not hasattr(command, "resolve_command"):
                return None
            left = [*context._protected_args, *context.args]
            name, command, rest = command.resolve_command(context, left)
    except typer.Exit:
        return None  # --help and --version answer and exit.
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def commands() -> set[str]:
    """List every command as it is typed, without the program's name: `topics create`."""
    return set(_walk(typer.main.get_command(app), ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path)
        return
    for name, child in children.items():
        yield from _walk(child, (*path, name))


def commands_in_shell(script: str) -> list[list[str]]:
    """Find the arguments of every `driftline` in lines of shell.

    Examples
    --------
    >>> commands_in_shell("DRIFTLINE_APP=x driftline worker && driftline tail alerts | head")
    [['worker'], ['tail', 'alerts']]
    """
    found: list[list[str]] = []
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        taking: list[str] | None = None
        for word in words:
            if word in _END:
                taking = None
            elif taking is not None:
                taking.append(word)
            elif word == PROGRAM:
                taking = []
                found.append(taking)
    return found


def commands_in_markdown(text: str) -> list[list[str]]:
    """Find the arguments of every command line in code blocks and in inline code.

    A code block counts line by line where the line begins with `driftline`, `$ driftline` or a
    variable before it; in other lines, such as output, the word is just a word.
    """
    found: list[list[str]] = []
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if _COMMAND_LINE.search(line):
                found += commands_in_shell(line)
    for inline in _INLINE.findall(_FENCE.sub("", text)):
        found += commands_in_shell(inline)
    return [arguments for arguments in found if arguments]
