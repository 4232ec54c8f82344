"""Pickle for learners: small when written, and only known names when read.

Unpickling calls whatever the bytes name, so a checkpoint is code. The reader below resolves only
River's classes and the few constructors that they are made of, and refuses anything else.

Why unseeded generators are dropped: every `proba.Gaussian` of a tree owns a `random.Random` seeded
by the operating system, 3.8 kB each, nine tenths of a forest's checkpoint. It serves only
`sample()`, which no predictor calls, and having no seed it has no future worth keeping. One
generator stands in for all of them. Seeded generators are part of the state and are kept whole.
"""

from __future__ import annotations

import copyreg
import inspect
import io
import pickle
import random
import types
from collections.abc import Collection
from typing import Any

from river import proba

from models.compiled import AVAILABLE
from models.errors import CheckpointCorrupt, Refusal

# Names outside River that estimators are made of. `partial` and `deepcopy` are the defaults of
# River's own defaultdicts; both act only on what this table already allows. Never `getattr`: it
# would walk out of the table.
_ALLOWED = {
    "builtins": {
        "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list",
        "object", "set", "str", "tuple",
    },
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "copy": {"deepcopy"},
    "datetime": {"date", "datetime", "timedelta", "timezone"},
    "functools": {"partial"},
    "msgspec._core": {"UNSET"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "random": {"Random"},
    "statistics": {"NormalDist"},
}  # fmt: skip
# River's readers of files and networks are not estimators.
_REFUSED_RIVER = ("river.datasets", "river.stream", "river.evaluate", "river.checks")


class Bound:
    """A method of an object, as its parts: Python would write `getattr`, which no state may name.

    River's Page-Hinkley test keeps one of its own methods.

    Examples
    --------
    >>> from river.stats import Mean
    >>> mean = Mean()
    >>> Bound(mean, "update") == mean.update
    True
    """

    def __new__(cls, owner: object, name: str) -> Any:
        """Bind a method that the owner's class defines in Python."""
        function = inspect.getattr_static(type(owner), name, None)
        if not inspect.isfunction(function):
            raise CheckpointCorrupt(
                f"has a state that names {type(owner).__name__}.{name}, which no learner is "
                "made of",
                Refusal.FORBIDDEN,
            )
        return types.MethodType(function, owner)


def _reduce_method(method: types.MethodType) -> tuple[type[Bound], tuple[object, str]]:
    return Bound, (method.__self__, method.__name__)


def dumps(value: Any) -> bytes:
    """Pickle a learner's state without the generators that nothing depends on."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=5)
    pickler.dispatch_table = copyreg.dispatch_table.copy()
    stand_in = random.Random(0)

    def reduce_distribution(distribution: Any) -> Any:
        reduced = distribution.__reduce_ex__(5)
        state = reduced[2]
        if distribution.seed is None and "_rng" in state:
            state = {**state, "_rng": stand_in}
        return (*reduced[:2], state, *reduced[3:])

    pickler.dispatch_table[types.MethodType] = _reduce_method
    for kind in (proba.Gaussian, proba.Multinomial, proba.Beta):
        pickler.dispatch_table[kind] = reduce_distribution
    pickler.dump(value)
    return buffer.getvalue()


def loads(data: bytes, trusted_modules: Collection[str] = ()) -> Any:
    """Unpickle a learner's state, naming only River, the core and `trusted_modules`.

    Raises
    ------
    CheckpointCorrupt
        When the bytes name anything else, or are not a pickle at all.
    """
    try:
        return _Unpickler(io.BytesIO(data), frozenset(trusted_modules)).load()
    except CheckpointCorrupt:
        raise
    except Exception as error:
        # A damaged pickle can raise nearly anything: it calls constructors with what it read.
        raise CheckpointCorrupt(
            f"has a state that does not unpickle ({type(error).__name__}: {error})"
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, trusted_modules: frozenset[str]) -> None:
        super().__init__(file)
        self._trusted_modules = trusted_modules

    def find_class(self, module_name: str, global_name: str) -> Any:
        if global_name in _ALLOWED.get(module_name, ()):
            return super().find_class(module_name, global_name)
        if module_name.startswith("models.compiled.") and not AVAILABLE:
            raise CheckpointCorrupt(
                f"has the state of the compiled {global_name}, which is not built here; "
                "install with a C++ compiler, or rebuild the version from the examples log"
            )
        if _is_ours_or_rivers(module_name) or module_name in self._trusted_modules:
            found = super().find_class(module_name, global_name)
            # A dotted name can walk from a module to whatever that has imported.
            is_at_home = "." not in global_name or getattr(found, "__module__", None) == module_name
            is_trusted = module_name in self._trusted_modules or _is_estimator_material(found)
            if is_at_home and is_trusted:
                return found
        raise CheckpointCorrupt(
            f"has a state that names {module_name}.{global_name}, which no learner is made of and "
            "which was not called (what a pipeline of your own needs, define in its own module)",
            Refusal.FORBIDDEN,
        )


def _is_ours_or_rivers(module_name: str) -> bool:
    if module_name.startswith(_REFUSED_RIVER):
        return False
    return module_name.partition(".")[0] in ("river", "models")


def _is_estimator_material(found: Any) -> bool:
    # A class or a method of one, River's or ours: no module function, nothing they imported.
    is_method = inspect.isroutine(found) and "." in found.__qualname__
    return (inspect.isclass(found) or is_method) and _is_ours_or_rivers(found.__module__)
