"""What every section of the settings is made of: strictness, durations, secrets, errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class SettingsError(Exception):
    """The configuration can't be used; the message names the key and the fix."""


def parse_duration(value: object) -> object:
    """Turn `"7d"`, `"90s"`, `"250ms"` or `"1h30m"` into seconds; numbers are seconds already.

    Examples
    --------
    >>> parse_duration("7d"), parse_duration("1h30m"), parse_duration("250ms"), parse_duration(5)
    (604800.0, 5400.0, 0.25, 5)
    """
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"{value!r} is not a duration: write 250ms, 90s, 15m, 12h, 7d or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]


class Section(BaseModel):
    """A section of the configuration: frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def secret(value: SecretStr | None, file: Path | None) -> str | None:
    """Give a secret, from the value or the file."""
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"can't read the secret file {file}: {error.strerror}") from None


def explain(path: Path, error: ValidationError) -> str:
    """Say in a line each which settings can't be used, and why."""
    lines = [f"{path}: {error.error_count()} setting(s) can't be used:"]
    for problem in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in problem["loc"]) or "(the whole)"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "no such setting; `driftline config reference` lists all"
        elif problem["type"] == "missing":
            message = "must be set"
        lines.append(f"  {key}: {message}")
    return "\n".join(lines)
