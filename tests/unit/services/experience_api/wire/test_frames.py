import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from services.experience_api.wire.frames import (
    PING,
    event_frame,
    event_payload,
    ping,
    pong_frame,
    read_frame,
    text_frame,
    with_cursor,
)
from shared.events.event import MalformedEvent

EVENT = b'{"specversion":"1.0","id":"1","source":"/sources/a","type":"t","data":{"n":12345678901234567890}}'


def received(frame: bytes) -> tuple[Opcode, bytes]:
    """Decode a frame as a strict client does."""
    client = Protocol(Side.CLIENT)
    client.receive_data(frame)
    [event] = client.events_received()
    assert client.parser_exc is None
    assert not client.data_to_send() or event.opcode is Opcode.PING  # type: ignore[union-attr]
    return event.opcode, bytes(event.data)  # type: ignore[union-attr]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_strict_client_reads_a_text_frame_of_any_length(length: int) -> None:
    assert received(text_frame(b"x" * length)) == (Opcode.TEXT, b"x" * length)


def test_pings_and_pongs() -> None:
    assert received(PING) == (Opcode.PING, b"")
    assert received(pong_frame(b"x" * 125)) == (Opcode.PONG, b"x" * 125)


@pytest.mark.parametrize("length", [0, 10, 60, 100, 65_400, 65_536, 100_000])
def test_the_cursor_is_spliced_into_the_event(length: int) -> None:
    event = {"id": "1", "data": "x" * length}
    frame = event_frame(json.dumps(event).encode(), b"AbC-_")
    opcode, payload = received(frame)
    assert opcode is Opcode.TEXT
    assert json.loads(payload) == {"cursor": "AbC-_", **event}


@pytest.mark.parametrize("length", [10, 100_000])
def test_a_frame_is_read(length: int) -> None:
    event = {"id": "1", "source": "/s", "data": "x" * length}
    frame = event_frame(json.dumps(event).encode(), b"AbC-_")
    found = read_frame(frame)
    assert found == (len(received(frame)[1]), "AbC-_", {"id": "1", "source": "/s"})


def test_a_frame_that_is_no_json_is_described_without_its_attributes() -> None:
    frame = event_frame(event_payload(b'{"id":"1","data":NaN}'), b"AbC-_")
    assert read_frame(frame) == (len(received(frame)[1]), "AbC-_", {})
    large = event_frame(b'{"id":"1","source":"/s","data":1e400}', b"AbC-_")
    assert read_frame(large).attributes == {"id": "1", "source": "/s"}


@given(st.text(max_size=300), st.binary(max_size=60).map(bytes.hex), st.binary(max_size=60).map(bytes.hex))
def test_a_cursor_is_replaced_and_nothing_else(text: str, first: str, second: str) -> None:
    payload = event_payload(json.dumps({"id": "1", "data": text}, ensure_ascii=False).encode())
    frame = event_frame(payload, first.encode())
    assert with_cursor(frame, second.encode()) == event_frame(payload, second.encode())


def test_an_event_is_not_altered() -> None:
    assert event_payload(EVENT) is EVENT


@pytest.mark.parametrize(
    "value",
    [
        b'{"cursor":"forged",' + EVENT[1:],
        EVENT[:-1] + b',"cursor":"forged"}',
        EVENT[:-1] + b',"\\u0063ursor":"forged"}',
        b" \n" + EVENT[:1] + b"  " + EVENT[1:],
    ],
)
def test_a_cursor_in_the_event_is_removed(value: bytes) -> None:
    payload = event_payload(value)
    _, text = received(event_frame(payload, b"ours"))
    pairs = json.loads(text, object_pairs_hook=list)
    assert [value for name, value in pairs if name == "cursor"] == ["ours"]
    assert b"12345678901234567890" in payload


def test_text_that_mentions_a_cursor_is_kept() -> None:
    value = EVENT[:-1] + b',"extra":"a \\"cursor\\" and \\u00e9"}'
    assert json.loads(event_payload(value)) == json.loads(value)


@pytest.mark.parametrize(
    "value", [None, b"", b"[]", b"null", b"{}", b"{ }", b'{"cursor":"only"}', b'{"a":"\xff"}', b"\xef\xbb\xbf{}", b"{x"]
)
def test_a_value_that_would_break_a_connection_is_malformed(value: bytes | None) -> None:
    with pytest.raises(MalformedEvent):
        event_payload(value)


@given(st.binary())
def test_any_bytes_are_a_text_frame_or_malformed(value: bytes) -> None:
    with contextlib.suppress(MalformedEvent):
        opcode, payload = received(event_frame(event_payload(value), b"c"))
        assert opcode is Opcode.TEXT
        assert payload.decode().startswith('{"cursor":"c",')


def test_a_ping_has_no_payload() -> None:
    assert ping() == b"\x89\x00"
