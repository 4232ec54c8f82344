"""What every section of the settings is made of: strictness, secrets, errors."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError


class SettingsError(Exception):
    """The configuration can't be used; the message names the key and the fix."""


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
