import base64
import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.wire.cursor import (
    CursorCodec,
    CursorRefused,
    ForeignCursor,
    IncrementalCursor,
    MalformedCursor,
)

CODEC = CursorCodec("3f2a", 4)
VECTOR = (0, 127, 128, 2**40)
offsets = st.integers(min_value=0, max_value=2**63 - 1)


@given(st.lists(offsets, max_size=40))
def test_decoding_reverses_encoding(vector: list[int]) -> None:
    codec = CursorCodec("epoch", len(vector))
    text = codec.encode(vector).decode()
    assert codec.decode(text) == tuple(vector)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.lists(st.tuples(st.integers(0, 3), offsets), max_size=10))
def test_an_incremental_cursor_equals_an_encoded_one(moves: list[tuple[int, int]]) -> None:
    vector = list(VECTOR)
    cursor = IncrementalCursor(CODEC, vector)
    assert cursor.encoded() == CODEC.encode(vector)
    for partition, offset in moves:
        vector[partition] = offset
        cursor.advance(partition, offset)
        assert cursor.encoded() == CODEC.encode(vector)


def test_a_cursor_is_short() -> None:
    assert len(CursorCodec("0" * 32, 4).encode((10**6,) * 4)) <= 28


@pytest.mark.parametrize("other", [CursorCodec("3f2b", 4), CursorCodec("3f2a", 3), CursorCodec("3f2a", 5)])
def test_a_cursor_of_another_topic_is_foreign(other: CursorCodec) -> None:
    with pytest.raises(ForeignCursor):
        CODEC.decode(other.encode((1,) * other.partitions).decode())


def test_another_version_is_named() -> None:
    body = b"\x02" + base64.urlsafe_b64decode(CODEC.encode(VECTOR) + b"==")[1:-2]
    with pytest.raises(MalformedCursor, match="version 2"):
        CODEC.decode(_with_checksum(body))


def test_every_truncation_and_every_altered_character_is_detected() -> None:
    text = CODEC.encode(VECTOR).decode()
    for length in range(len(text)):
        with pytest.raises(MalformedCursor):
            CODEC.decode(text[:length])
    for place, character in enumerate(text):
        other = "B" if character == "A" else "A"
        with pytest.raises(MalformedCursor):
            CODEC.decode(text[:place] + other + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "=", "A", "é", "A A", "AAAA\n", "%41", "\x00", "A" * 20_000])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(MalformedCursor):
        CODEC.decode(text)


@pytest.mark.parametrize(
    ("offsets", "why"), [(b"\xff" * 10 + b"\x01", "above"), (b"\x01\x01\x01\x80", "ends within an offset")]
)
def test_invalid_offsets_are_refused(offsets: bytes, why: str) -> None:
    head = base64.urlsafe_b64decode(CODEC.encode(VECTOR) + b"==")[:6]
    with pytest.raises(MalformedCursor, match=why):
        CODEC.decode(_with_checksum(head + offsets))


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    with contextlib.suppress(CursorRefused):
        assert len(CODEC.decode(text)) == 4


@given(st.binary(max_size=60))
def test_any_body_with_a_valid_checksum_is_decoded_or_refused(tail: bytes) -> None:
    head = base64.urlsafe_b64decode(CODEC.encode(VECTOR) + b"==")[:6]
    with contextlib.suppress(CursorRefused):
        assert all(0 <= offset < 2**63 for offset in CODEC.decode(_with_checksum(head + tail)))


def test_each_refusal_has_its_own_reason() -> None:
    assert len({MalformedCursor.reason, ForeignCursor.reason, CursorRefused.reason}) == 3


def _with_checksum(body: bytes) -> str:
    """Encode a body with a valid checksum, so that only its content is wrong."""
    check = zlib.crc32(body) & 0xFFFF
    return base64.urlsafe_b64encode(body + check.to_bytes(2, "big")).decode().rstrip("=")
