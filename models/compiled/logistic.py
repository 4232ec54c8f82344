"""`StandardScaler | LogisticRegression` as one compiled estimator."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from river import base, compose, linear_model, optim, preprocessing, utils

from models.compiled._native import LogisticKernel
from models.compiled.arrays import binary_labels_of, names_of, rows_of, weights_of
from models.compiled.dumped import Dumped
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.rates import constant_rate

_KIND = "ScaledLogisticRegression"
_N_OPTIMIZER_OPTIONS = 4
_SGD, _ADA_GRAD, _FTRL = range(3)


class ScaledLogisticRegression(LogisticKernel, Dumped, base.Classifier):  # type: ignore[misc]
    """Standard scaling and logistic regression in one, with River's predictions to the last bit.

    The same float operations in the same order as `StandardScaler() | LogisticRegression(...)`.
    What differs: learning refuses what would ruin the state (numbers that are not finite, or
    beyond 1e15; labels other than true and false) and then has changed nothing; optimizers are
    parameters only, so two models can share one.

    Parameters
    ----------
    optimizer
        `SGD`, `AdaGrad` or `FTRLProximal`, with a constant rate.
    loss
        `Log`, with its weights of the classes.
    l2
        Amount of L2 regularization.
    l1
        Amount of L1 regularization, with SGD or AdaGrad; not together with `l2`.
    intercept_init
        Initial intercept.
    intercept_lr
        Rate of the intercept, constant.
    clip_gradient
        Bound of the loss gradient.
    with_std
        Whether to divide by the deviation after subtracting the mean.

    Examples
    --------
    >>> model = ScaledLogisticRegression()
    >>> for amount, is_fraud in [(12.0, False), (900.0, True), (8.0, False), (700.0, True)] * 50:
    ...     model.learn_one({"amount": amount}, is_fraud)
    >>> model.predict_one({"amount": 800.0}), model.predict_one({"amount": 10.0})
    (True, False)
    """

    # What a pipeline of River's calls them, so that it gets its own names back.
    _step_names: tuple[str, ...] = ("StandardScaler", "LogisticRegression")

    def __init__(
        self,
        optimizer: Any = None,
        loss: Any = None,
        l2: float = 0.0,
        l1: float = 0.0,
        intercept_init: float = 0.0,
        intercept_lr: Any = 0.01,
        clip_gradient: float = 1e12,
        with_std: bool = True,
    ) -> None:
        self.optimizer = optim.SGD(0.01) if optimizer is None else optimizer
        self.loss = optim.losses.Log() if loss is None else loss
        self.l2 = l2
        self.l1 = l1
        self.intercept_init = intercept_init
        self.intercept_lr: Any = intercept_lr
        self.clip_gradient = clip_gradient
        self.with_std = with_std
        self._restore(self._fresh_dump())

    @classmethod
    def from_river(cls, pipeline: compose.Pipeline) -> Self:
        """Go on where a pipeline of River's stands; that one is left as it is.

        Raises
        ------
        ValueError
            When it is no `StandardScaler | LogisticRegression`, or has options that are not
            compiled: a rolling window, another loss or optimizer, a rate that changes.
        """
        scaler, regression = _steps(pipeline)
        model = cls(
            optimizer=_fresh_optimizer(regression.optimizer),
            loss=copy.deepcopy(regression.loss),
            l2=regression.l2,
            l1=regression.l1,
            intercept_init=regression.intercept_init,
            intercept_lr=constant_rate(regression.intercept_lr),
            clip_gradient=regression.clip_gradient,
            with_std=scaler.with_std,
        )
        model._restore(model._dump_of(scaler, regression))
        model._step_names = tuple(pipeline.steps)
        return model

    def to_river(self) -> compose.Pipeline:
        """Build the pipeline of River's that stands where this model does."""
        reader = DumpReader(self.dump(), _KIND)
        intercept, n_iterations, l1_total, names, columns = _read_state(reader)
        counts, means, variances, weights = columns
        scaler = preprocessing.StandardScaler(with_std=self.with_std)
        scaler.counts.update(dict(zip(names, map(int, counts), strict=True)))
        scaler.means.update(zip(names, means, strict=True))
        if self.with_std:
            scaler.vars.update(zip(names, variances, strict=True))
        optimizer = _fresh_optimizer(self.optimizer)
        optimizer.n_iterations = n_iterations
        for of_feature in _states(optimizer):
            of_feature.update(zip(names, reader.floats(len(names)), strict=True))
        regression: Any = linear_model.LogisticRegression(
            optimizer=optimizer,
            loss=copy.deepcopy(self.loss),
            l2=self.l2,
            l1=self.l1,
            intercept_init=self.intercept_init,
            intercept_lr=self.intercept_lr,
            clip_gradient=self.clip_gradient,
        )
        regression.intercept = intercept
        regression._weights = utils.VectorDict(dict(zip(names, weights, strict=True)))
        if self.l1:
            regression.max_cum_l1 = l1_total
            for name, applied in zip(names, reader.floats(len(names)), strict=True):
                regression.cum_l1[name] = applied
        return compose.Pipeline(*zip(self._step_names, (scaler, regression), strict=True))

    @property
    def memory_bytes(self) -> int:
        """What the model takes, without the Python objects of its names."""
        return int(self._memory())

    @property
    def weights(self) -> dict[Any, float]:
        """The current weights, by feature."""
        weights: dict[Any, float] = self.to_river()[-1].weights
        return weights

    def learn_many(
        self,
        X: ArrayLike,
        y: ArrayLike,
        w: ArrayLike | None = None,
        names: Sequence[str | int] | None = None,
    ) -> None:
        """Learn the rows of an array, exactly as one after the other; all of them, or none.

        Columns are features: `names`, or 0, 1, 2 and so on, as in River's `iter_array`. River's own
        `learn_many` is another algorithm: one step along the mean gradient.
        """
        self._run_rows(rows_of(X), names, y, w, None)

    def predict_proba_many(
        self, X: ArrayLike, names: Sequence[str | int] | None = None
    ) -> NDArray[np.float64]:
        """Predict P(False) and P(True) for each row of an array."""
        rows = rows_of(X)
        out = np.empty(len(rows))
        self._run_array(rows, names_of(names, rows), None, None, out)
        return np.column_stack((1.0 - out, out))

    def test_then_train_many(
        self,
        X: ArrayLike,
        y: ArrayLike,
        w: ArrayLike | None = None,
        names: Sequence[str | int] | None = None,
    ) -> NDArray[np.float64]:
        """Predict P(True) for each row, and learn it before the next is predicted."""
        rows = rows_of(X)
        out = np.empty(len(rows))
        self._run_rows(rows, names, y, w, out)
        return out

    def __setstate__(self, dump: bytes) -> None:
        self._restore(dump)
        self.__dict__.update(read_options(DumpReader(dump, _KIND)))

    def _run_rows(self, rows: Any, names: Any, y: Any, w: Any, out: Any) -> None:
        labels, weights = binary_labels_of(y), weights_of(w)
        self._run_array(rows, names_of(names, rows), labels, weights, out)

    def _fresh_dump(self) -> bytes:
        return self._dump_of(
            preprocessing.StandardScaler(with_std=self.with_std),
            linear_model.LogisticRegression(
                optimizer=_fresh_optimizer(self.optimizer),
                loss=self.loss,
                l2=self.l2,
                l1=self.l1,
                intercept_init=self.intercept_init,
                intercept_lr=self.intercept_lr,
                clip_gradient=self.clip_gradient,
            ),
        )

    def _dump_of(self, scaler: Any, regression: Any) -> bytes:
        optimizer = regression.optimizer
        writer = DumpWriter(_KIND)
        write_options(writer, scaler, regression)
        writer.pack("d", regression.intercept)
        writer.pack("q", optimizer.n_iterations)
        writer.pack("d", regression.max_cum_l1 if regression.l1 else 0.0)
        # River's scaler also notes features that were only ever predicted for: they have no count.
        names = list(scaler.counts)
        writer.names(names)
        weights = regression.weights
        of_features = [scaler.counts, scaler.means, scaler.vars, weights, *_states(optimizer)]
        if regression.l1:
            of_features.append(regression.cum_l1.to_dict())
        for of_feature in of_features:
            writer.floats(of_feature.get(name, 0.0) for name in names)
        return writer.finish()


def _read_state(
    reader: DumpReader,
) -> tuple[float, int, float, list[str | int], list[list[float]]]:
    # What every optimizer has, up to where its own begins.
    reader.unpack(_OPTIONS)
    (intercept,) = reader.unpack("d")
    (n_iterations,) = reader.unpack("q")
    (l1_total,) = reader.unpack("d")
    names = reader.names()
    columns = [reader.floats(len(names)) for _ in range(4)]
    return intercept, int(n_iterations), l1_total, names, columns


_OPTIONS = f"BB{_N_OPTIMIZER_OPTIONS}d7d"


def write_options(writer: DumpWriter, scaler: Any, regression: Any) -> None:
    """Write the parameters of a pair of River's, or of what has the attributes of both.

    Raises
    ------
    ValueError
        When one is not compiled.
    """
    number, options = _optimizer_options(regression.optimizer)
    loss = regression.loss
    if type(loss) is not optim.losses.Log:
        raise ValueError(f"the loss must be Log, not {loss!r}")
    if regression.l1 and number == _FTRL:
        raise ValueError("FTRLProximal has its own l1; the model's must be zero")
    writer.pack(
        _OPTIONS,
        scaler.with_std,
        number,
        *options,
        regression.l2,
        regression.l1,
        regression.intercept_init,
        constant_rate(regression.intercept_lr),
        regression.clip_gradient,
        loss.weight_pos,
        loss.weight_neg,
    )


def read_options(reader: DumpReader) -> dict[str, Any]:
    """Read what `write_options` wrote, as parameters of `ScaledLogisticRegression`."""
    with_std, optimizer, *options = reader.unpack(_OPTIONS)
    l2, l1, intercept_init, intercept_lr, clip_gradient, weight_pos, weight_neg = options[
        _N_OPTIMIZER_OPTIONS:
    ]
    return {
        "with_std": bool(with_std),
        "optimizer": _optimizer_of(int(optimizer), options[:_N_OPTIMIZER_OPTIONS]),
        "l2": l2,
        "l1": l1,
        "intercept_init": intercept_init,
        "intercept_lr": intercept_lr,
        "clip_gradient": clip_gradient,
        "loss": optim.losses.Log(weight_pos=weight_pos, weight_neg=weight_neg),
    }


def _steps(pipeline: Any) -> tuple[Any, Any]:
    if isinstance(pipeline, compose.Pipeline) and len(pipeline.steps) == 2:
        scaler, regression = pipeline.steps.values()
        is_pair = (
            type(scaler) is preprocessing.StandardScaler
            and scaler.window_size is None
            and type(regression) is linear_model.LogisticRegression
            and type(regression.initializer) is optim.initializers.Zeros
        )
        if is_pair:
            return scaler, regression
    raise ValueError(f"not a plain StandardScaler | LogisticRegression: {pipeline}")


def _optimizer_options(optimizer: Any) -> tuple[int, list[float]]:
    options: list[float]
    if type(optimizer) is optim.SGD:
        number, options = _SGD, [constant_rate(optimizer.lr)]
    elif type(optimizer) is optim.AdaGrad:
        number, options = _ADA_GRAD, [constant_rate(optimizer.lr), optimizer.eps]
    elif type(optimizer) is optim.FTRLProximal:
        number = _FTRL
        options = [optimizer.alpha, optimizer.beta, optimizer.l1, optimizer.l2]
    else:
        raise ValueError(f"the optimizer must be SGD, AdaGrad or FTRLProximal, not {optimizer!r}")
    return number, options + [0.0] * (_N_OPTIMIZER_OPTIONS - len(options))


def _optimizer_of(number: int, options: Sequence[float]) -> Any:
    if number == _SGD:
        return optim.SGD(options[0])
    if number == _ADA_GRAD:
        return optim.AdaGrad(options[0], options[1])
    return optim.FTRLProximal(*options)


def _fresh_optimizer(optimizer: Any) -> Any:
    return _optimizer_of(*_optimizer_options(optimizer))


def _states(optimizer: Any) -> list[Any]:
    """What an optimizer keeps for each feature, in the order of the dump."""
    match optimizer:
        case optim.AdaGrad():
            return [optimizer.g2]
        case optim.FTRLProximal():
            return [optimizer.z, optimizer.n]
    return []
