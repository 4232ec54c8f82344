"""A River pipeline at work: batches of events in, what one after the other would have given out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from river import base

from models.anatomy import Anatomy, anatomy
from models.compiled.twins import compiled_twin, is_compiled, river_twin
from models.errors import LearnFailed
from models.fused import fuse
from models.pipelines import takes_weight
from models.reasons import Attribution, ScoreMany, UsualValues, explain
from models.types import Example, Features, Score, Task


class Model:
    """Scores and learns batches with the fastest form of a pipeline that there is here.

    Attributes
    ----------
    estimator
        The pipeline, or its compiled twin; a dump has the pipeline.
    n_learned
        Examples that it has learned.

    Examples
    --------
    >>> from models.pipelines import build
    >>> model = Model(build("logistic", Task.BINARY, seed=7), Task.BINARY)
    >>> model.score_many([{"amount": 12.5}])
    [0.5]
    """

    def __init__(self, pipeline: base.Estimator, task: Task) -> None:
        self.task = task
        self.estimator: Any = compiled_twin(pipeline)
        self.n_learned = 0
        self.get_ready()

    def get_ready(self) -> None:
        """Derive what follows from the estimator and is not part of the state."""
        self._takes_weight = takes_weight(self.estimator)
        self._fused = fuse(self.estimator) if self.task is Task.BINARY else None
        # A few estimators (River's forests) set themselves up at the first features they see. It
        # must be the log that decides which those are, so an untrained model scores with a copy.
        self._untrained: Any = None if self.n_learned else copy.deepcopy(self.estimator)
        self._usual = UsualValues()

    def __getstate__(self) -> dict[str, Any]:
        estimator = river_twin(self.estimator)
        return {"task": self.task, "estimator": estimator, "n_learned": self.n_learned}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.estimator = compiled_twin(self.estimator)
        self.get_ready()

    @property
    def is_compiled(self) -> bool:
        """Whether it runs in native code; its predictions are the same either way."""
        return is_compiled(self.estimator)

    def anatomy(self) -> Anatomy:
        """Give the weights and sizes that it consists of, for people to compare."""
        return anatomy(river_twin(self.estimator))

    def score_many(self, batch: Sequence[Features]) -> list[Score]:
        """Predict for a batch of events; what is learned later does not depend on it.

        Binary: P(true), 0 while the model knows no class. Multiclass: a probability per known
        class, none at first. Regression: the value. Anomaly: a score in [0, 1].
        """
        model = self.estimator if self._untrained is None else self._untrained
        match self.task:
            case Task.BINARY:
                if self._fused is not None and self._untrained is None:
                    return list(map(self._fused.probability, batch))
                if (probabilities := getattr(model, "probabilities", None)) is not None:
                    return list(probabilities(batch))
                predict_proba_one = model.predict_proba_one
                return [predict_proba_one(x).get(True, 0.0) for x in batch]
            case Task.MULTICLASS:
                if (predict_dicts := getattr(model, "predict_proba_dicts", None)) is not None:
                    return list(predict_dicts(batch))
                predict_proba_one = model.predict_proba_one
                return [predict_proba_one(x) for x in batch]
            case Task.REGRESSION:
                if (predict_dicts := getattr(model, "predict_dicts", None)) is not None:
                    return list(predict_dicts(batch))
                return [float(model.predict_one(x)) for x in batch]
            case Task.ANOMALY:
                return [min(1.0, max(0.0, float(model.score_one(x)))) for x in batch]

    def explain_many(
        self, batch: Sequence[Features], probes: Sequence[Features], score_many: ScoreMany
    ) -> list[Attribution]:
        """Attribute scores to features; see `models.reasons.explain`."""
        model = self.estimator if self._untrained is None else self._untrained
        return explain(model, batch, lambda: self._usual.of(probes), score_many)

    def learn_many(self, chosen: Sequence[tuple[Example, int]]) -> None:
        """Learn examples, given with their offsets, as `learn_one` for each would.

        Raises
        ------
        LearnFailed
            When River raises; some of them may have been learned.
        """
        if not self._learn_in_one_call([example for example, _ in chosen]):
            self._learn_one_by_one(chosen)
        self.n_learned += len(chosen)
        if self.n_learned:
            self._untrained = None

    def _learn_in_one_call(self, examples: list[Example]) -> bool:
        learn_dicts = getattr(self.estimator, "learn_dicts", None)
        if learn_dicts is None or self.task is Task.ANOMALY:
            return False
        weights = [example.weight for example in examples]
        is_weighted = self._takes_weight and any(weight != 1.0 for weight in weights)
        try:
            learn_dicts(
                [example.features for example in examples],
                [example.label for example in examples],
                weights if is_weighted else None,
            )
        except (TypeError, ValueError):
            # It refused the batch and learned nothing of it; one by one, the example is found.
            return False
        except Exception as error:
            raise LearnFailed(
                f"learning {len(examples)} examples failed: {type(error).__name__}: {error}"
            ) from error
        return True

    def _learn_one_by_one(self, chosen: Sequence[tuple[Example, int]]) -> None:
        learn_weighted, takes_weight = self.estimator.learn_one, self._takes_weight
        learn_one: Any = learn_weighted if self._fused is None else self._fused.learn
        unsupervised = self.task is Task.ANOMALY
        for example, offset in chosen:
            weight, label = example.weight, example.label
            try:
                if unsupervised:
                    learn_one(example.features)
                elif weight == 1.0 or not takes_weight:
                    learn_one(example.features, label)
                else:
                    learn_weighted(example.features, label, w=weight)
            except Exception as error:
                raise LearnFailed(
                    f"learning the example of event {example.event_id!r} at offset {offset} "
                    f"failed: {type(error).__name__}: {error}"
                ) from error
