import pytest

from services.experience_api.latest.subjects import Batch, Change, Kept, digest_of
from shared.bus.memory.log import MemoryRecord


def record(value: bytes | None, offset: int = 7, channel: bytes | None = b"orders.eu") -> MemoryRecord:
    return MemoryRecord("t", 1, offset, 1000 + offset, channel, value, ())


def event(subject: str, kind: str = "order", **more: object) -> bytes:
    extra = "".join(f',"{name}":"{value}"' for name, value in more.items())
    return f'{{"source":"/s","type":"{kind}","subject":"{subject}"{extra}}}'.encode()


NOW = 2000
KEPT = Kept(["orders.*"], ["*.deleted", "gone?[x]"])


def test_the_event_of_a_subject_replaces_the_one_before_and_a_deletion_removes_it() -> None:
    change = KEPT.change(record(event("1")))
    assert change == Change("orders.eu", digest_of("/s", "1"), 1, 7, event("1"))
    gone = KEPT.change(record(event("1", "order.deleted")))
    assert gone is not None
    assert gone.event is None
    literal = KEPT.change(record(event("1", "gone?[x]")))
    assert literal is not None
    assert literal.event is None


@pytest.mark.parametrize(
    ("value", "channel"),
    [
        pytest.param(None, b"orders.eu", id="no value"),
        pytest.param(event("1"), b"news", id="another channel"),
        pytest.param(event("1"), None, id="no channel"),
        pytest.param(event("1"), "orders.ü".encode(), id="no name of a channel"),
        pytest.param(event("1"), b"orders.e\0u", id="a name that PostgreSQL refuses"),
        pytest.param(event("1"), b"orders." + b"x" * 3000, id="a name that no index takes"),
        pytest.param(event(""), b"orders.eu", id="no subject"),
        pytest.param(b"{", b"orders.eu", id="malformed"),
        pytest.param(b'{"subject":7}', b"orders.eu", id="a subject that is no text"),
    ],
)
def test_what_is_not_the_state_of_a_subject_changes_nothing(value: bytes | None, channel: bytes | None) -> None:
    assert KEPT.change(record(value, channel=channel)) is None


def test_subjects_of_two_sources_are_apart() -> None:
    assert digest_of("a", "b") != digest_of("a,", "b")
    assert digest_of("a", "b") != digest_of("b", "a")


def test_without_types_nothing_is_a_deletion() -> None:
    change = Kept(["**"], []).change(record(event("1", "x.deleted")))
    assert change is not None
    assert change.event is not None


def test_the_digest_of_settings_is_that_of_what_they_keep() -> None:
    assert Kept(["a", "b"], ["x"]).digest == Kept(["b", "a", "a"], ["x"]).digest
    assert Kept(["a"], ["x"]).digest != Kept(["a"], ["y"]).digest
    assert KEPT.covers("orders.eu")
    assert not KEPT.covers("orders")


def test_a_batch_has_the_latest_change_of_each_subject_and_the_positions_behind_it() -> None:
    batch = Batch({0: 3, 1: 5})
    for offset, subject in ((7, "1"), (8, "2"), (9, "1")):
        found = record(event(subject, n=offset), offset)
        batch.add(found, KEPT.change(found), NOW)
    assert [change.offset for change in batch.changes.values()] == [8, 9]
    assert batch.size == sum(200 + len(change.event or b"") for change in batch.changes.values())
    batch.add(record(None, 10), None, NOW)
    assert batch.after == {1: 11}
    batch.advance({0: 3, 1: 12})
    assert batch.after == {1: 12}
    assert batch.ends == {0: 3, 1: 12}
    assert batch.copied_ms == {1: 1010}


def test_the_time_of_a_record_that_is_ahead_is_that_of_the_reader() -> None:
    batch = Batch({1: 3})
    batch.add(record(None, 2**40), None, NOW)
    assert batch.copied_ms == {1: NOW}
    batch.add(record(None, 10), None, NOW + 5)
    assert batch.copied_ms == {1: NOW}
