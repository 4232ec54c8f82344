"""The dump format in Python: what moves a state between a kernel and River's own objects.

A second implementation of `src/dump.hpp`, which describes the bytes. It needs no compiler, so a
dump can be read wherever Python runs.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

_MAGIC = b"DRIFTDMP"
_VERSION = 1


class DumpWriter:
    """Write numbers and names in the order in which a kernel reads them."""

    def __init__(self, kind: str) -> None:
        self._bytes = bytearray(_MAGIC)
        self.pack("I", _VERSION)
        self.text(kind)

    def pack(self, types: str, *values: float) -> None:
        """Write numbers: `B` a byte, `I` a count, `q` an integer, `d` a float."""
        self._bytes += struct.pack(f"<{types}", *values)

    def floats(self, values: Iterable[float]) -> None:
        """Write floats without their number."""
        listed = list(values)
        self.pack(f"{len(listed)}d", *listed)

    def text(self, text: str) -> None:
        """Write a text with its length."""
        encoded = text.encode("utf-8", "surrogatepass")
        self.pack("I", len(encoded))
        self._bytes += encoded

    def names(self, names: Sequence[str | int]) -> None:
        """Write names of features or classes with their number."""
        self.pack("I", len(names))
        for name in names:
            if isinstance(name, str):
                self._bytes += b"s"
                self.text(name)
            elif isinstance(name, bool):
                self._bytes += b"b"
                self.pack("B", name)
            else:
                self._bytes += b"i"
                self.pack("q", name)

    def raw(self, content: bytes) -> None:
        """Write what was written elsewhere."""
        self._bytes += content

    def __len__(self) -> int:
        return len(self._bytes)

    def finish(self) -> bytes:
        """Seal the dump with its checksum."""
        self.pack("I", zlib.crc32(self._bytes))
        return bytes(self._bytes)


class DumpReader:
    """Read what a kernel or `DumpWriter` wrote.

    Raises
    ------
    ValueError
        When the bytes are damaged, of another format or of another kind.
    """

    def __init__(self, dump: bytes, kind: str) -> None:
        if dump[: len(_MAGIC)] != _MAGIC:
            raise ValueError("these bytes are no dump of a compiled estimator")
        self._bytes, checksum = dump[:-4], dump[-4:]
        if struct.pack("<I", zlib.crc32(self._bytes)) != checksum:
            raise ValueError("the dump is damaged: its checksum differs")
        self._at = len(_MAGIC)
        (version,) = self.unpack("I")
        if version != _VERSION:
            raise ValueError(f"the dump has format {version}; this release reads {_VERSION}")
        if (found := self.text()) != kind:
            raise ValueError(f"the dump is of {found!r}, not of {kind!r}")

    def unpack(self, types: str) -> tuple[float, ...]:
        """Read numbers, with the types of `DumpWriter.pack`."""
        try:
            values = struct.unpack_from(f"<{types}", self._bytes, self._at)
        except struct.error as error:
            raise ValueError("the dump ends too soon") from error
        self._at += struct.calcsize(f"<{types}")
        return values

    def floats(self, n: int) -> list[float]:
        """Read a given number of floats."""
        return list(self.unpack(f"{n}d"))

    def text(self) -> str:
        """Read a text."""
        (size,) = self.unpack("I")
        (encoded,) = struct.unpack_from(f"{size}s", self._bytes, self._at)
        self._at += int(size)
        return str(encoded, "utf-8", "surrogatepass")

    def names(self) -> list[str | int]:
        """Read names of features or classes."""
        (n,) = self.unpack("I")
        names: list[str | int] = []
        for _ in range(int(n)):
            (tag,) = self.unpack("B")
            if tag == ord("s"):
                names.append(self.text())
            elif tag == ord("b"):
                names.append(bool(self.unpack("B")[0]))
            else:
                names.append(int(self.unpack("q")[0]))
        return names
