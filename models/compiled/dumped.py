"""What every compiled estimator does by its dump: copies with their state, pickles, loading."""

from __future__ import annotations

import copyreg
from typing import Any, Self

from river import base


class Dumped(base.Base):
    """Stands between a kernel, which dumps and restores, and River's base class."""

    dump: Any
    _restore: Any

    def clone(
        self, new_params: dict[str, Any] | None = None, include_attributes: bool = False
    ) -> Self:
        """Return a fresh model with the same parameters, or with the state as well."""
        cloned: Self = super().clone(new_params)
        if include_attributes and not new_params:
            cloned._restore(self.dump())
        return cloned

    def __reduce__(self) -> tuple[Any, ...]:
        # Past the constructor, which an ensemble's needs a model for. Typeshed does not know it.
        return copyreg.__newobj__, (type(self),), self.dump()  # type: ignore[attr-defined]

    def __setstate__(self, dump: bytes) -> None:
        self._restore(dump)

    @classmethod
    def load(cls, dump: bytes) -> Self:
        """Restore a dumped model.

        Raises
        ------
        ValueError
            When the bytes are damaged, of another format or of another estimator.
        """
        model = cls.__new__(cls)
        model.__setstate__(dump)
        return model
