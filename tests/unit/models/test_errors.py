"""The error tree is drawn, complete, and one program can catch it at its root."""

from __future__ import annotations

import inspect

from models import errors


def test_every_error_is_in_the_drawing_and_under_the_root() -> None:
    """A reader who knows the drawing knows every error of the core."""
    drawing = errors.__doc__ or ""
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if not issubclass(error, BaseException):
            continue
        assert issubclass(error, errors.DriftlineError)
        assert f" {name} " in drawing or f" {name}\n" in drawing
