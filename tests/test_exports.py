"""What modules say they export, they have."""

from __future__ import annotations

import importlib

import pytest

from tests.source_files import MODULES, module_name

WITH_ALL = [path for path in MODULES if "__all__" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_ALL, ids=module_name)
def test_every_exported_name_exists_once(path) -> None:
    """A name in `__all__` that is not there breaks `import *` and documentation."""
    module = importlib.import_module(module_name(path))

    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(module.__all__) == len(set(module.__all__))


def test_the_core_exports_what_it_imports() -> None:
    """`models` is a list of public names: an import that is not exported is forgotten."""
    core = importlib.import_module("models")
    public = {
        name
        for name, value in vars(core).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("models.")
    }
    assert public <= set(core.__all__)
