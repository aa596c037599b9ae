"""What the audit says of an event."""

from typing import Any

import msgspec
import pytest

from services.experience_api.explain.audited import Audit
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.snapshot_cursor import START, SnapshotEncoder

CODEC = CursorCodec("epoch", 2)
EVENT = [(0, 10)]


def cursor(*offsets: int) -> str:
    return CODEC.encode(offsets).decode()


def record(kind: str, after: int, written: int, **more: Any) -> bytes:
    """One record of the audit, with offsets of the partition of the event."""
    made = {
        "kind": kind,
        "client_id": "shop",
        "connection_id": "c-1",
        "node": "experience-0",
        "at": "2026-01-30T09:12:11.204Z",
        "channels": ["orders.*"],
        "filters": {},
        "conflate": None,
        "after": cursor(after, 0),
        "written": cursor(written, 0),
        "sent": None,
        "acknowledged": None,
        **{name: cursor(offset, 0) for name, offset in more.items() if name in {"sent", "acknowledged"}},
        **{name: value for name, value in more.items() if name not in {"sent", "acknowledged"}},
    }
    return msgspec.json.encode(made)


def read(*records: bytes) -> Audit:
    audit = Audit("shop", "epoch", 2)
    for each in records:
        audit.take(b"shop", each, EVENT)
    return audit


def test_an_event_in_a_range_was_written() -> None:
    audit = read(record("opened", 5, 5), record("delivered", 5, 11))
    [found] = audit.written
    assert (found.connection, found.node, found.sent, found.acknowledged) == ("c-1", "experience-0", None, None)
    assert (found.channels, found.ended, audit.records) == (["orders.*"], "", 2)


@pytest.mark.parametrize(("after", "written"), [(5, 10), (11, 20)], ids=["before", "behind"])
def test_an_event_outside_of_all_ranges_was_not(after: int, written: int) -> None:
    audit = read(record("delivered", after, written))
    assert audit.written == []
    assert audit.behind == {"c-1": written > 10}


def test_a_later_record_says_that_it_was_acknowledged() -> None:
    audit = read(record("delivered", 5, 11, sent=10, acknowledged=5))
    assert (audit.written[0].sent, audit.written[0].acknowledged) == (False, False)
    assert not audit.is_complete(EVENT)
    audit.take(b"shop", record("delivered", 11, 15, sent=15, acknowledged=11), EVENT)
    audit.take(b"shop", record("closed", 15, 15, code=4000, reason="draining"), EVENT)
    [found] = audit.written
    assert (found.sent, found.acknowledged, found.ended) == (True, True, "4000 draining")
    assert audit.is_complete(EVENT)
    assert audit.behind == {}


def test_a_connection_that_began_with_a_snapshot_is_noted() -> None:
    within = SnapshotEncoder(CODEC, (5, 0), b"abcd").encode(START).decode()
    began = msgspec.json.encode({**msgspec.json.decode(record("opened", 5, 5)), "after": within, "written": within})
    assert read(began, record("delivered", 5, 9)).snapshots
    assert not read(record("opened", 5, 5)).snapshots


def test_a_connection_that_ended_before_the_event_is_noted() -> None:
    audit = read(record("closed", 5, 9), record("closed", 5, 9, code=4001, reason="too slow", connection_id="c-2"))
    at = "2026-01-30T09:12:11.204Z"
    assert audit.missed == [f"c-1 at {at} (without a close code)", f"c-2 at {at} (4001 too slow)"]


def test_each_connection_and_record_is_noted_once() -> None:
    audit = read(*[record("delivered", 5, 11, connection_id=f"c-{number % 20}") for number in range(40)])
    assert len(audit.written) == len(audit.behind) == 8
    audit.take(b"shop", record("delivered", 5, 9, connection_id="c-0"), EVENT)
    assert audit.behind["c-0"] is False


def test_other_clients_and_what_cannot_be_read_tell_nothing() -> None:
    audit = Audit("shop", "epoch", 2)
    audit.take(b"other", record("delivered", 5, 11), EVENT)
    audit.take(None, record("delivered", 5, 11), EVENT)
    for value in (b"", b"{}", b"\xff", record("delivered", 5, 11, node=7)):
        audit.take(b"shop", value, EVENT)
    assert audit == Audit("shop", "epoch", 2)
    audit.take(b"shop", record("delivered", 5, 11), [(2, 10)])
    assert audit.written == [], "a partition that the topic has not"
