"""Properties of messages, as a sender may write them."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode, encode

from services.system_api.sources.queue.rabbitmq.decoding import short_text, table, time, tolerate


@pytest.fixture
def tolerant() -> Iterator[None]:
    """Let pamqp decode anything for one test."""
    methods, fields = dict(decode.METHODS), dict(decode.TABLE_MAPPING)
    tolerate()
    yield
    decode.METHODS.update(methods)
    decode.TABLE_MAPPING.update(fields)


@pytest.mark.parametrize(
    ("value", "text"), [(b"\x02ab", "ab"), (b"\x00", ""), (b"\x03a\xffb", "a\\xffb"), (b"\x02\xc3\xa9x", "é")]
)
def test_a_text_keeps_its_bytes(value: bytes, text: str) -> None:
    assert short_text(value + b"more") == (1 + value[0], text)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1_700_000_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1_700_000_000_000_000, 1_700_000_000_000_000),
        (1_700_000_000_000_000_000, 1_700_000_000_000_000_000),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_a_time_that_is_none_is_a_number(number: int, expected: object) -> None:
    assert time(struct.pack(">Q", number)) == (8, expected)


def test_a_table_has_all_its_fields() -> None:
    fields: dict[str, Any] = {"a": 1, "b": "text", "c": {"d": True}, "e": [1, "x"]}
    written = encode.field_table(fields)
    assert table(written + b"more") == (len(written), fields)


@pytest.mark.usefixtures("tolerant")
def test_a_field_that_is_nested_too_deeply_is_none_and_the_others_are_read() -> None:
    deep = b""
    for _ in range(20_000):
        deep = b"\x00F" + struct.pack(">I", len(deep)) + deep
    field = b"\x04deepF" + struct.pack(">I", len(deep)) + deep
    content = field + encode.field_table({"x-stream-offset": 7})[4:]
    taken, found = table(struct.pack(">I", len(content)) + content)
    assert taken == len(content) + 4
    assert found.keys() == {"deep", "x-stream-offset"}
    assert found["x-stream-offset"] == 7


@pytest.mark.parametrize("decoder", [short_text, time, table])
@pytest.mark.parametrize("value", [b"", b"\x00\x00", b"\x00\x00\x00\x09ab", b"\x00\x00\x00\x02\x01aZ"])
def test_what_is_cut_off_is_an_error_or_read(decoder: Any, value: bytes) -> None:
    try:
        taken, _ = decoder(value)
    except ValueError:
        return
    assert taken > 0


@pytest.mark.usefixtures("tolerant")
def test_pamqp_decodes_with_them() -> None:
    assert decode.by_type(b"\x01\xff", "shortstr") == (2, "\\xff")
    assert decode.by_type(b"\xff" * 8, "timestamp") == (8, 2**64 - 1)
    assert decode.by_type(b"\x00\x00\x00\x0c\x02\xff\xfeT" + b"\xff" * 8, "table") == (16, {"\\xff\\xfe": 2**64 - 1})
    assert decode.embedded_value(b"F\x00\x00\x00\x00") == (5, {})


@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_an_error(value: bytes) -> None:
    try:
        taken, _ = table(struct.pack(">I", len(value)) + value)
    except ValueError:
        return
    assert taken == len(value) + 4
