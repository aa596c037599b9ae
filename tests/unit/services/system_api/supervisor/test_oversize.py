"""How a record that is too large for the bus is isolated."""

from services.system_api.sources.source import Batch
from services.system_api.supervisor.oversize import OversizeFilter
from shared.bus.protocol import Outgoing
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.events.headers import headers_of


def record(identity: str, size: int) -> Outgoing:
    return Outgoing(b"k", b"x" * size, headers_of(f"orders 1 {identity}".encode()))


def test_batches_pass_unchanged_before_the_bus_rejects_one() -> None:
    oversize, batch = OversizeFilter(), Batch([record("orders:1", 10)])
    assert oversize.exclude_rejected(batch) is batch
    assert not oversize.isolating


def test_a_record_rejected_alone_is_dead_lettered_with_its_head_and_no_other() -> None:
    oversize = OversizeFilter()
    oversize.note_too_large(Batch([record("orders:1", 10), record("orders:2", 10**6)]))
    assert oversize.isolating
    oversize.note_too_large(Batch([record("orders:2", 10**6)]))
    filtered = oversize.exclude_rejected(
        Batch([record("orders:1", 10), record("orders:2", 10**6)], checkpoint={"": b"2"})
    )
    assert filtered.records == [record("orders:1", 10)]
    assert filtered.checkpoint == {"": b"2"}
    (reject,) = filtered.rejects
    assert (reject.id, len(reject.value), reject.attempts) == ("orders:2", KEPT_BYTES, 2)
    assert "its first 65536 bytes are kept" in reject.error


def test_an_event_above_the_limit_of_subscribers_is_dead_lettered_without_being_tried() -> None:
    oversize = OversizeFilter()
    batch = Batch([record("orders:1", 100_000), record("orders:2", 100_001), record("orders:3", 5)])
    filtered = oversize.exclude_rejected(batch, 100_000)
    assert filtered.records == [batch.records[0], batch.records[2]]
    (reject,) = filtered.rejects
    assert (reject.id, len(reject.value)) == ("orders:2", KEPT_BYTES)
    assert reject.error == "an event of 100001 bytes is above 100000; its first 65536 bytes are kept"
    assert not oversize.isolating
    assert oversize.exclude_rejected(batch) is batch


def test_a_reject_that_is_too_large_is_truncated_too() -> None:
    oversize = OversizeFilter()
    batch = Batch(rejects=[Reject("orders:3", b"y" * 10**6, "not JSON", "source", "source:f:3")])
    oversize.note_too_large(batch)
    oversize.note_too_large(batch)
    (reject,) = oversize.exclude_rejected(batch).rejects
    assert reject.attempts == 2
    assert (len(reject.value), reject.error) == (KEPT_BYTES, "not JSON (of its 1000000 bytes the first 65536 are kept)")


def test_batches_in_flight_with_the_rejected_one_were_tried_as_well() -> None:
    oversize = OversizeFilter()
    earlier, last = Batch([record("orders:1", 10**6)]), Batch([record("orders:2", 10**6)])
    oversize.note_too_large(last, [earlier, last])
    oversize.note_too_large(earlier, [earlier])
    (reject,) = oversize.exclude_rejected(earlier).rejects
    assert reject.attempts == 2
    oversize.note_too_large(Batch([record("orders:3", 10**6)]))
    (reject,) = oversize.exclude_rejected(Batch([record("orders:3", 10**6)])).rejects
    assert reject.attempts == 1  # first read during the isolation


def test_isolation_ends_when_everything_in_flight_is_committed() -> None:
    oversize = OversizeFilter()
    oversize.note_too_large(Batch([record("orders:1", 10)]))
    commits = 0
    while oversize.isolating:
        oversize.note_committed()
        commits += 1
    assert commits == 4
    assert oversize.exclude_rejected(Batch([record("orders:1", 10)])).rejects == []


def test_a_reject_that_fits_is_not_truncated() -> None:
    oversize = OversizeFilter()
    large = Reject("f:3", b"y" * 10**6, "not JSON", "source", "f:3")
    small = Reject("f:4", b"y", "not JSON", "source", "f:4")
    batch = Batch(rejects=[large, small])
    oversize.note_too_large(batch)
    oversize.note_too_large(batch)
    assert oversize.exclude_rejected(batch).rejects[1] is small
