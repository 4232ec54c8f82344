"""Exchange River's models for their compiled twins and back, state included.

Why the stored state of a linear model is River's own: it is small, so rewriting it costs nothing,
and a version then loads on a machine without the extension, in a release that has another dump
format, and beside the versions that were cut before there were kernels. Either twin goes on where
the other stopped, bit for bit, so it does not matter which of them learned what.
"""

from __future__ import annotations

from typing import Any

from river import compose

from models.compiled import AVAILABLE


def compiled_twin(model: Any) -> Any:
    """Give the compiled twin of a River model, in the same state, or the model if it has none.

    Of a longer pipeline, the last two steps may have a twin; the steps before are then shared.

    Examples
    --------
    >>> from river import linear_model, preprocessing
    >>> river = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    >>> type(river_twin(compiled_twin(river))).__name__
    'Pipeline'
    """
    if not AVAILABLE or type(model) is not compose.Pipeline or len(model.steps) < 2:
        return model
    from models.compiled.logistic import ScaledLogisticRegression

    *before, scaler, regression = model.steps.items()
    try:
        twin = ScaledLogisticRegression.from_river(compose.Pipeline(scaler, regression))
    except ValueError:
        # Something about it is not compiled, and River has it.
        return model
    return compose.Pipeline(*before, (f"{scaler[0]}|{regression[0]}", twin)) if before else twin


def river_twin(model: Any) -> Any:
    """Give the River model that stands where a model with a compiled twin does, or the model."""
    if not AVAILABLE:
        return model
    from models.compiled.logistic import ScaledLogisticRegression

    if type(model) is ScaledLogisticRegression:
        return model.to_river()
    if type(model) is compose.Pipeline:
        *before, (_, last) = model.steps.items()
        if type(last) is ScaledLogisticRegression:
            return compose.Pipeline(*before, *last.to_river().steps.items())
    return model


def is_compiled(model: Any) -> bool:
    """Say whether a model is a compiled estimator, or ends in one."""
    if not AVAILABLE:
        return False
    from models.compiled import _native

    last = list(model.steps.values())[-1] if type(model) is compose.Pipeline else model
    return any(kind.__module__ == _native.__name__ for kind in type(last).__mro__)
