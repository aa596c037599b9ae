import base64
import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.wire.cursor import CursorCodec, CursorRefused, ForeignCursor, MalformedCursor
from services.experience_api.wire.snapshot_cursor import (
    BEGUN,
    START,
    Place,
    SnapshotCursor,
    SnapshotEncoder,
    is_within_snapshot,
    read_cursor,
    vector_of,
)

CODEC = CursorCodec("3f2a", 2)
PLACE = Place("orders.eu", bytes(range(16)))
offsets = st.integers(min_value=0, max_value=2**63 - 1)


def encoded(place: Place = PLACE, codec: CursorCodec = CODEC, vector: tuple[int, ...] = (5, 300)) -> str:
    return SnapshotEncoder(codec, vector, b"abcd").encode(place).decode()


def sealed(content: bytes) -> str:
    return CODEC.sealed_snapshot(content).decode()


@given(
    st.lists(offsets, min_size=1, max_size=40),
    st.from_regex(r"[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,199}", fullmatch=True),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=4, max_size=4),
)
def test_reading_reverses_encoding(vector: list[int], channel: str, digest: bytes, interest: bytes) -> None:
    codec = CursorCodec("epoch", len(vector))
    place = Place(channel, digest)
    text = SnapshotEncoder(codec, tuple(vector), interest).encode(place).decode()
    assert read_cursor(codec, text) == SnapshotCursor(tuple(vector), interest, place)
    assert is_within_snapshot(text)
    assert not is_within_snapshot(codec.encode(vector).decode())


def test_a_cursor_of_the_stream_is_read_as_well() -> None:
    assert read_cursor(CODEC, CODEC.encode((1, 2)).decode()) == (1, 2)


def test_the_vector_of_a_snapshot_is_that_of_the_stream_behind_it() -> None:
    assert vector_of(CODEC, encoded()) == (5, 300)
    assert vector_of(CODEC, CODEC.encode((1, 2)).decode()) == (1, 2)


def test_both_beginnings_come_before_every_subject() -> None:
    assert START < BEGUN < Place("-", bytes(16))
    assert read_cursor(CODEC, encoded(START)) == SnapshotCursor((5, 300), b"abcd", START)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param(encoded()[:-1] + "A", MalformedCursor, id="altered"),
        pytest.param(encoded(codec=CursorCodec("other", 2)), ForeignCursor, id="another topic"),
        pytest.param(encoded(vector=(1, 2, 3)), ForeignCursor, id="more partitions"),
        pytest.param(sealed(b""), MalformedCursor, id="nothing"),
        pytest.param(sealed(bytes(20) + b"\x09abc"), MalformedCursor, id="ends within the channel"),
        pytest.param(sealed(bytes(20) + b"\x01\xff\x01\x01"), MalformedCursor, id="not ASCII"),
        pytest.param(sealed(bytes(20) + b"\x01\x00\x01\x01"), MalformedCursor, id="a control character"),
    ],
)
def test_a_cursor_that_cannot_be_used_is_refused(text: str, error: type[CursorRefused]) -> None:
    with pytest.raises(error):
        read_cursor(CODEC, text)


@given(st.binary(max_size=60))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(CursorRefused):
        read_cursor(CODEC, sealed(content))
    body = b"\x02" + content
    checked = body + (zlib.crc32(body) & 0xFFFF).to_bytes(2, "big")
    with contextlib.suppress(CursorRefused):
        read_cursor(CODEC, base64.urlsafe_b64encode(checked).rstrip(b"=").decode())
