"""Which examples were appended before: a bounded memory, part of the fold's state."""

from __future__ import annotations


class SeenOffsets:
    """Tell redelivered examples from new ones, exactly and in bounded memory.

    An example may be appended to the log twice: its lane crashed between publishing and
    committing. Each says where its label was read (`origin`, `offset`) and gives a `floor`: all of
    that origin below the floor was in the log before this example was. So what is below the highest
    floor was learned, and only offsets at or above it, those in flight, need remembering.

    Examples
    --------
    >>> seen = SeenOffsets()
    >>> [seen.admit("labels/0", offset, floor=3) for offset in (3, 5, 3, 2)]
    [True, True, False, False]
    >>> seen.admit("labels/0", 9, floor=9), seen.n_remembered
    (True, 1)
    """

    def __init__(self) -> None:
        self._origins: dict[str, tuple[int, set[int]]] = {}

    def admit(self, origin: str, offset: int, floor: int) -> bool:
        """Remember an example; False if it had been admitted before."""
        known_floor, above = self._origins.get(origin, (0, None))
        if above is None:
            above = set()
            self._origins[origin] = (0, above)
        if floor > known_floor:
            # A lane raises its floor once a batch, so this walk is paid once a batch as well.
            above = {seen for seen in above if seen >= floor}
            known_floor = floor
            self._origins[origin] = (floor, above)
        if offset < known_floor or offset in above:
            return False
        above.add(offset)
        return True

    @property
    def n_remembered(self) -> int:
        """How many offsets are held: the work in flight when the newest example was published."""
        return sum(len(above) for _, above in self._origins.values())
