import json

import pytest

from services.experience_api.wire.frames import PING, event_frame, pong_frame, text_frame
from services.experience_api.wire.messages import channel_of, chunk, cursor_of, event_stream, messages


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536])
def test_the_messages_of_frames_are_read_again(size: int) -> None:
    payloads = [b"a", b"x" * size, b"b"]
    frames = PING + b"".join(map(text_frame, payloads)) + pong_frame(b"x")
    assert list(messages(frames)) == payloads


def test_a_cursor_is_found_wherever_it_is() -> None:
    (event,) = messages(event_frame(b'{"id":"1"}', b"AaB"))
    assert cursor_of(event) == b"AaB"
    assert cursor_of(b'{"id":"1","cursor":"AaC"}') == b"AaC"
    assert cursor_of(b'{"id":"1"}') is None


def test_the_channel_of_an_event_is_read() -> None:
    assert channel_of(b'{"cursor":"AaB","id":"1","channel":"orders.eu"}') == "orders.eu"
    assert [channel_of(event) for event in (b'{"id":"1"}', b'{"channel":1}', b"")] == ["", "", ""]


def test_an_event_stream_has_the_cursor_as_id() -> None:
    frames = event_frame(b'{"id":"1"}', b"AaB") + PING + text_frame(b'{"id":"2"}')
    assert event_stream(frames) == b'id: AaB\ndata: {"cursor":"AaB","id":"1"}\n\ndata: {"id":"2"}\n\n'
    assert event_stream(PING) == b":\n\n"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_of_several_lines_stays_one_event(end: bytes) -> None:
    """White space in the data of an event may be line ends, which end a line of an event stream."""
    event = b'{"id":"1",' + end + b'"data":7}'
    text = event_stream(event_frame(event, b"AaB")).decode()
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    assert json.loads("\n".join(lines)) == {"cursor": "AaB", "id": "1", "data": 7}
    assert "\n\n" not in text.rstrip("\n")


def test_a_chunk_begins_with_its_size() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
