"""Dumps: one form, in bytes that both implementations agree on; nothing else is read."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compiled.dumps import DumpReader, DumpWriter

NAMES = st.booleans() | st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1)


@given(
    st.lists(NAMES, max_size=5),
    st.lists(st.floats(allow_nan=False), max_size=5),
    st.integers(0, 255),
)
@settings(max_examples=50)
def test_what_is_written_is_read(names: list[str | int], floats: list[float], byte: int) -> None:
    """Texts of any kind, integers, floats to the last bit."""
    writer = DumpWriter("Kind")
    writer.pack("B", byte)
    writer.names(names)
    writer.floats(floats)
    reader = DumpReader(writer.finish(), "Kind")
    assert reader.unpack("B") == (byte,)
    assert reader.names() == names
    assert reader.floats(len(floats)) == floats


def sealed(content: bytes) -> bytes:
    """Give bytes the checksum that makes them look whole."""
    return content + struct.pack("<I", zlib.crc32(content))


GOOD = DumpWriter("Kind").finish()


@pytest.mark.parametrize(
    ("dump", "message"),
    [
        (b"", "no dump"),
        (b"PICKLE" + GOOD, "no dump"),
        (GOOD[:-1] + b"\0", "damaged"),
        (sealed(GOOD[:8] + b"\2\0\0\0" + GOOD[12:-4]), "format 2; this release reads 1"),
        (DumpWriter("Other").finish(), "is of 'Other'"),
    ],
)
def test_anything_else_is_refused(dump: bytes, message: str) -> None:
    """Each with its own sentence."""
    with pytest.raises(ValueError, match=message):
        DumpReader(dump, "Kind")


def test_the_kernel_refuses_what_is_well_sealed_and_wrong() -> None:
    """A checksum can be right over nonsense; memory is asked for only when the bytes are there."""
    pytest.importorskip("models.compiled._native", reason="the extension is not built")
    from models.compiled.logistic import ScaledLogisticRegression

    model = ScaledLogisticRegression()
    model.learn_one({"a": 1.0, "b": 2.0}, True)
    good = model.dump()
    head = len(DumpWriter("ScaledLogisticRegression").finish()) - 4
    n_options = 2 + 11 * 8 + 24
    count = good[: head + n_options]
    for wrong, message in [
        (good[:8] + b"\2\0\0\0" + good[12:-4], "format"),
        (DumpWriter("ScaledLogisticRegressioN").finish()[:-4] + good[head:-4], "another estimator"),
        (good[: head + 1] + b"\7" + good[head + 2 : -4], "no such optimizer"),
        (count + b"\xff\xff\xff\xff" + good[head + n_options + 4 : -4], "ends too soon"),
        (good[:-12], "ends too soon"),
        (good[:-4] + bytes(8), "more than"),
        (good[:-4].replace(b"s\1\0\0\0b", b"s\1\0\0\0a"), "twice"),
        (good[:-4].replace(b"s\1\0\0\0b", b"x\1\0\0\0b"), "neither text, an integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            model._restore(sealed(wrong))
    with pytest.raises(TypeError, match="bytes"):
        model._restore("text")  # type: ignore[arg-type]
    assert model.dump() == good
