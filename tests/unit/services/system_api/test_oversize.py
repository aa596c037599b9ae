"""The search for what is too large for the bus."""

from services.system_api.oversize import KEPT, Oversize
from services.system_api.source import Batch
from shared.bus.protocol import Outgoing
from shared.dead_letter import Reject
from shared.event import TRAIL


def record(identity: str, size: int) -> Outgoing:
    return Outgoing(b"k", b"x" * size, ((TRAIL, f"orders 1 {identity}".encode()),))


def test_nothing_is_looked_for_before_something_was_refused() -> None:
    oversize, batch = Oversize(), Batch([record("orders:1", 10)])
    assert oversize.strain(batch) is batch
    assert not oversize.searching


def test_what_is_refused_alone_is_cut_and_put_aside_and_the_rest_is_not() -> None:
    oversize = Oversize()
    oversize.refuse(Batch([record("orders:1", 10), record("orders:2", 10**6)]))
    assert oversize.searching
    oversize.refuse(Batch([record("orders:2", 10**6)]))
    strained = oversize.strain(Batch([record("orders:1", 10), record("orders:2", 10**6)], checkpoint={"": b"2"}))
    assert strained.records == [record("orders:1", 10)]
    assert strained.checkpoint == {"": b"2"}
    (reject,) = strained.rejects
    assert (reject.id, len(reject.value), reject.attempts) == ("orders:2", KEPT, 2)
    assert "its first 65536 bytes are kept" in reject.error


def test_a_reject_that_is_too_large_is_cut_as_well() -> None:
    oversize = Oversize()
    batch = Batch(rejects=[Reject("orders:3", b"y" * 10**6, "not JSON", "source", "source:f:3")])
    oversize.refuse(batch)
    oversize.refuse(batch)
    (reject,) = oversize.strain(batch).rejects
    assert reject.attempts == 2
    assert (len(reject.value), reject.error) == (KEPT, "not JSON (of its 1000000 bytes the first 65536 are kept)")


def test_what_was_under_way_with_the_refused_was_tried_as_well() -> None:
    oversize = Oversize()
    earlier, last = Batch([record("orders:1", 10**6)]), Batch([record("orders:2", 10**6)])
    oversize.refuse(last, [earlier, last])
    oversize.refuse(earlier, [earlier])
    (reject,) = oversize.strain(earlier).rejects
    assert reject.attempts == 2
    oversize.refuse(Batch([record("orders:3", 10**6)]))
    (reject,) = oversize.strain(Batch([record("orders:3", 10**6)])).rejects
    assert reject.attempts == 1  # it was met while the search was on


def test_the_search_ends_when_what_was_under_way_has_passed() -> None:
    oversize = Oversize()
    oversize.refuse(Batch([record("orders:1", 10)]))
    passed = 0
    while oversize.searching:
        oversize.passed()
        passed += 1
    assert passed == 4
    assert oversize.strain(Batch([record("orders:1", 10)])).rejects == []
