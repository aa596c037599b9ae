"""The record of a dead letter says where its input came from and why it was rejected."""

import dataclasses

import pytest

from shared.events.dead_letter import Content, Reject, Replay, origin_in, replay_in


def test_the_record_of_a_reject_holds_the_input_and_its_reason() -> None:
    reject = Reject("orders:9", b"\x00raw", "line 3 is no JSON", "source", "orders:a.ndjson:3", attempts=2)
    record = reject.record()
    assert (record.key, record.value) == (b"orders:9", b"\x00raw")
    assert dict(record.headers) == {
        "stage": b"source",
        "origin": b"orders:a.ndjson:3",
        "pipeline": b"",
        "error": b"line 3 is no JSON",
        "attempts": b"2",
        "content": b"input",
    }


def test_the_record_of_an_event_holds_what_its_replay_needs() -> None:
    reject = Reject("orders:9", b"{", "no", "pipeline", "trelay.ingest/0/4", "orders@1", 2, Content.EVENT)
    reject = dataclasses.replace(reject, key=b"C-1", provenance=b"orders 1 orders:9", truncated=70_000, replay_of="0-3")
    assert list(reject.record().headers[5:]) == [
        ("content", b"event"),
        ("input-key", b"C-1"),
        ("input-provenance", b"orders 1 orders:9"),
        ("truncated", b"70000"),
        ("replay-of", b"0-3"),
    ]


def test_the_headers_of_a_replay_are_read_back() -> None:
    for replay in (
        Replay("0-17", 2, "orders@3f2a"),
        Replay("0-17", 2, ""),
        Replay("0-17", 2, "", "0-3"),
        Replay("0-17", 2, "orders", "0-3", (3, 4711)),
    ):
        assert replay_in((("content-type", b"x"), *replay.headers())) == replay
    assert replay_in((*Replay("0-17", 2, "").headers(), ("trelay-edited", None))) == Replay("0-17", 2, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "origin"),
    [("trelay.ingest/3/4711", (3, 4711)), ("3/4711", (3, 4711)), ("", None), ("a.csv:3", None), ("t/3/x", None)],
)
def test_the_origin_in_a_text(text: str, origin: tuple[int, int] | None) -> None:
    assert origin_in(text) == origin


def test_headers_without_a_replay_have_none() -> None:
    assert replay_in(()) is None
    assert replay_in((("trelay-replay", b"malformed"), ("trelay-replay", b"\xff 1 x"))) is None


def test_a_long_error_is_truncated() -> None:
    assert len(dict(Reject("1", b"", "x" * 10_000, "source", "o").record().headers)["error"]) == 2000
