"""`text/event-stream`, by the rules and examples of the HTML standard."""

import random

import pytest

from services.system_api.sources.http.streaming.event_stream import EventStreamParser, StreamEvent


def parsed(stream: bytes, limit: int = 1000) -> list[StreamEvent]:
    return EventStreamParser(limit).feed(stream)


def event(data: bytes | None, identity: str | None = None, name: str = "") -> StreamEvent:
    return StreamEvent(identity, name, data, cut=False)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [event(b"YHOO\n+2\n10")]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         [event(b"first event", "1"), event(b"second event", ""), event(b" third event")]),
        (b"data\n\ndata\ndata\n\ndata:", [event(b""), event(b"\n")]),
        (b"data:test\n\ndata: test\n\n", [event(b"test"), event(b"test")]),
        (b"event: add\ndata: 73857293\n\nevent: remove\ndata: 1\n\n",
         [event(b"73857293", name="add"), event(b"1", name="remove")]),
        (b"event: add\n\ndata: x\n\n", [event(b"x")]),
        (b"id: 7\n\n", [event(None, "7")]),
        (b"id: a\0b\ndata: x\n\n", [event(b"x")]),
        (b"retry: 10\nother: 1\ndata: x\n\n", [event(b"x")]),
        (b"data: unfinished\n", []),
        (b"\xef\xbb\xbfdata: x\n\n", [event(b"x")]),
        (b"id: %b\ndata: x\n\n" % (b"i" * 5000), [event(b"x")]),
        (b"", []),
    ],
)  # fmt: skip
def test_events(stream: bytes, events: list[StreamEvent]) -> None:
    assert parsed(stream, 10_000) == events


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"2500", 2.5), (b"0", 0), (b"-1", None), (b"1e3", None), (b"", None), (b"9" * 30, None)]
)
def test_the_time_to_connect_again(value: bytes, seconds: float | None) -> None:
    parser = EventStreamParser(100)
    assert parser.retry is None
    assert parser.feed(b"retry: %b\n" % value) == []
    assert parser.retry == seconds


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_line_ends_and_chunks_make_no_difference(end: bytes) -> None:
    stream = b"id: 1\ndata: a\ndata: b\n\ndata: c\n\n:x\n\nevent: n\nid: 2\ndata: d\n\n".replace(b"\n", end)
    whole = parsed(stream)
    assert whole == [event(b"a\nb", "1"), event(b"c"), event(b"d", "2", "n")]
    rng = random.Random(1)
    for _ in range(50):
        parser, found, left = EventStreamParser(1000), [], stream
        while left:
            size = rng.randrange(1, 5)
            found += parser.feed(left[:size])
            left = left[size:]
        assert found == whole


def test_data_above_the_limit_is_cut_and_the_stream_goes_on() -> None:
    long = b"data: %b\nid: 1\n\ndata: x\n\n" % (b"y" * 5000)
    first, second = parsed(long, limit=100)
    assert (first.cut, first.data, first.id) == (True, b"y" * 100, "1")
    assert (second.cut, second.data) == (False, b"x")
    (several,) = parsed(b"data: %b\n" % (b"y" * 40) * 10 + b"\n", limit=100)
    assert several.cut
    assert len(several.data or b"") <= 110
