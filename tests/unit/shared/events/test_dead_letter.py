"""The record of a dead letter says where its input came from and why it was rejected."""

from shared.events.dead_letter import Reject


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
    }


def test_a_long_error_is_truncated() -> None:
    assert len(dict(Reject("1", b"", "x" * 10_000, "source", "o").record().headers)["error"]) == 2000
