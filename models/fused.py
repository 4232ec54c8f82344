"""StandardScaler | LogisticRegression in one pass, on River's own state, with River's own results.

River scales and learns through a dozen small calls an event. Here the same operations run in the
same order on the same objects, so predictions and state are equal to the last bit, and either path
may go on where the other stopped. Only the plain case is taken: no rolling window, SGD with a
constant rate, log loss with equal weights, no penalty; for any other pipeline `fuse` gives None.

Measured on elec2 (7 features, River 0.26.1, best of five runs in one process): learning 8.3 us
against 11.8, predicting 2.2 us against 3.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from river import compose, linear_model, optim, preprocessing, utils

from models.types import Features


class Fused(NamedTuple):
    """The two calls of the hot path: P(true) of an event, and learning an example."""

    probability: Callable[[Features], float]
    learn: Callable[[Features, Any], None]


def fuse(model: Any) -> Fused | None:
    """Give the fast calls for a model, or None if it is not the plain case."""
    if type(model) is not compose.Pipeline or len(model.steps) != 2:
        return None
    scaler, regression = model.steps.values()
    if not (_plain_scaler(scaler) and _plain_regression(regression)):
        return None
    return Fused(_probability(scaler, regression), _learn(scaler, regression))


def _plain_scaler(scaler: Any) -> bool:
    return (
        type(scaler) is preprocessing.StandardScaler
        and scaler.with_std
        and scaler.window_size is None
    )


def _plain_regression(regression: Any) -> bool:
    return (
        type(regression) is linear_model.LogisticRegression
        and type(regression.optimizer) is optim.SGD
        and type(regression.optimizer.lr) is optim.schedulers.Constant
        and type(regression.intercept_lr) is optim.schedulers.Constant
        and type(regression.loss) is optim.losses.Log
        and regression.loss.weight_pos == regression.loss.weight_neg == 1.0
        and regression.l1 == regression.l2 == 0.0
    )


def _probability(scaler: Any, regression: Any) -> Callable[[Features], float]:
    means, vars_ = scaler.means, scaler.vars
    exp = math.exp

    def probability(x: Features) -> float:
        scaled = {}
        for name, value in x.items():
            variance = vars_[name]
            scaled[name] = (value - means[name]) / variance**0.5 if variance else 0.0
        raw = regression._weights.dot(scaled) + regression.intercept
        if raw < -30:
            return 0.0
        return 1.0 if raw > 30 else 1 / (1 + exp(-raw))

    return probability


def _learn(scaler: Any, regression: Any) -> Callable[[Features, Any], None]:
    counts, means, vars_ = scaler.counts, scaler.means, scaler.vars
    optimizer = regression.optimizer
    rate = optimizer.lr.learning_rate
    intercept_rate = regression.intercept_lr.learning_rate
    clip = regression.clip_gradient
    initializer = regression.initializer
    vector, from_scaled, exp = utils.VectorDict, utils.VectorDict.from_scaled, math.exp

    def learn(x: Features, y: Any) -> None:
        scaled = {}
        for name, value in x.items():
            count = counts[name] + 1
            counts[name] = count
            old_mean = means[name]
            mean = means[name] = old_mean + (value - old_mean) / count
            variance = vars_[name]
            variance += ((value - old_mean) * (value - mean) - variance) / count
            vars_[name] = variance
            scaled[name] = (value - mean) / variance**0.5 if variance else 0.0
        # As LinearModel does: a view of the weights that initializes those of new features.
        weights: Any = vector(regression._weights, initializer, scaled)
        raw = weights.dot(scaled) + regression.intercept
        sign = 1 if y else -1
        z = raw * sign
        if z > 18.0:
            gradient = exp(-z) * -sign
        elif z < -18.0:
            gradient = 1.0 * -sign
        else:
            gradient = 1.0 * -sign / (exp(z) + 1.0)
        if not -clip <= gradient <= clip:
            gradient = math.copysign(clip, gradient)
        regression.intercept -= intercept_rate * gradient
        weights.isub_scaled(from_scaled(scaled, gradient), rate)
        optimizer.n_iterations += 1

    return learn
