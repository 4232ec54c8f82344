"""Write the reference of all settings from the settings themselves: docs/configuration.md."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stream.durations import parse_duration
from stream.settings import PRESETS, Settings

ENVIRONMENT_PREFIX = "DRIFTLINE_"
NAME = "NAME"
"""Stands for the name of a feature in the key of a setting."""

_INTRODUCTION = """\
# Configuration

One file, `driftline.toml` in the current folder unless `--config` or `DRIFTLINE_CONFIG` names
another or a shipped preset ({presets}). Begin with `driftline config show fraud > driftline.toml`
and check with `driftline config check`. Environment variables win over the file; unknown keys are
refused.

Durations are seconds, or text: `250ms`, `90s`, `15m`, `12h`, `7d`, `1h30m`.

This page is generated: `driftline config reference > docs/configuration.md`.
"""

_TYPES: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret text",
    dict[str, Any]: "table",
}
_SIGNS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
_DURATION_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


class Key(NamedTuple):
    """One setting."""

    name: str
    type: str
    default: str
    environment: str
    description: str


def reference() -> str:
    """Write the whole page in Markdown."""
    presets = ", ".join(f"`{path.stem}`" for path in sorted(PRESETS.glob("*.toml")))
    parts = [_INTRODUCTION.format(presets=presets), _table("The application", "", _top_level())]
    for name, field in Settings.model_fields.items():
        section = _section_of(field)
        if section is None:
            continue
        parts.append(_table(f"[{name}]", section.__doc__ or "", list(_keys(section, name))))
        for inner_name, inner in section.model_fields.items():
            path = f"{name}.{inner_name}"
            listed, nested = _section_in_list(inner), _section_of(inner)
            if listed is not None:
                keys = list(_keys(listed, path, in_environment=False))
                parts.append(_table(f"[[{path}]]", listed.__doc__ or "", keys))
            if nested is not None:
                parts.append(_table(f"[{path}]", nested.__doc__ or "", list(_keys(nested, path))))
            feature = _section_in_dict(inner)
            if feature is not None:
                path = f"{name}.{inner_name}.{NAME}"
                keys = list(_keys(feature, path, in_environment=False))
                parts.append(_table(f"[{path}]", feature.__doc__ or "", keys))
    return "\n".join(parts)


def keys() -> list[Key]:
    """List all settings in the order of the page."""
    listed = _top_level()
    for name, field in Settings.model_fields.items():
        section = _section_of(field)
        if section is not None:
            listed += _keys(section, name)
            for inner_name, inner in section.model_fields.items():
                below = _section_in_list(inner) or _section_of(inner)
                if below is not None:
                    path = f"{name}.{inner_name}"
                    in_environment = _section_in_list(inner) is None
                    listed += _keys(below, path, in_environment=in_environment)
    return listed


def _top_level() -> list[Key]:
    fields = Settings.model_fields.items()
    return [_key(name, field) for name, field in fields if _section_of(field) is None]


def _keys(section: type[BaseModel], prefix: str, *, in_environment: bool = True) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        if _section_in_dict(field) is not None:
            text = f"{field.description} See `[{prefix}.{name}.{NAME}]`."
            yield Key(f"{prefix}.{name}", "tables", "must be set", "", text)
        elif _section_in_list(field) is None and _section_of(field) is None:
            yield _key(f"{prefix}.{name}", field, in_environment=in_environment)


def _key(path: str, field: FieldInfo, *, in_environment: bool = True) -> Key:
    # Names of features keep their case, which environment variables do not.
    variable = ENVIRONMENT_PREFIX + path.upper().replace(".", "__") if in_environment else ""
    return Key(path, _type_text(field), _default_text(field), variable, field.description or "")


def _table(title: str, text: str, rows: list[Key]) -> str:
    heading = f"`{title}`" if title.startswith("[") else title
    lines = [f"## {heading}", ""]
    if text:
        lines += [text.strip().splitlines()[0], ""]
    lines += ["| key | type | default | environment | |", "| --- | --- | --- | --- | --- |"]
    for key in rows:
        variable = f"`{key.environment}`" if key.environment else ""
        cells = (f"`{key.name}`", key.type, key.default, variable, key.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _section_in_dict(field: FieldInfo) -> type[BaseModel] | None:
    if get_origin(field.annotation) is not dict:
        return None
    kind = get_args(field.annotation)[1]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _section_in_list(field: FieldInfo) -> type[BaseModel] | None:
    if get_origin(field.annotation) is not tuple:
        return None
    kind = get_args(field.annotation)[0]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type_text(field: FieldInfo) -> str:
    if _is_duration(field):
        return "duration"
    kind = field.annotation
    limits = [
        f"{sign} {_number_text(getattr(rule, name))}"
        for rule in field.metadata
        for name, sign in _SIGNS
        if getattr(rule, name, None) is not None
    ]
    return " ".join([_name_of(kind), ", ".join(limits)]).strip()


def _name_of(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Annotated:
        return _name_of(get_args(kind)[0])
    if origin is tuple:
        if _counts_seconds(get_args(kind)[0]):
            return "list of durations"
        return f"list of {_name_of(get_args(kind)[0])}"
    if origin in (Union, types.UnionType):
        return _name_of(next(part for part in get_args(kind) if part is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if origin is dict:
        inner = get_args(kind)[1]
        return "table" if inner is Any else f"table of {_name_of(inner)}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    return _TYPES[kind]


def _default_text(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be set"
    if field.default is None:
        return "none"
    if _is_duration(field):
        return f"`{_duration_text(field.default)}`"
    if field.default == ():
        return "`[]`"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    if isinstance(field.default, int | float):
        return f"`{_number_text(field.default)}`"
    return f"`{field.default}`"


def _is_duration(field: FieldInfo) -> bool:
    return any(getattr(rule, "func", None) is parse_duration for rule in field.metadata)


def _counts_seconds(kind: Any) -> bool:
    rules = getattr(kind, "__metadata__", ())
    return any(getattr(rule, "func", None) is parse_duration for rule in rules)


def _duration_text(seconds: float) -> str:
    for unit_s, unit in _DURATION_UNITS:
        if seconds and seconds % unit_s == 0:
            return f"{seconds / unit_s:g}{unit}"
    return f"{seconds:g}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g}ms"


def _number_text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
