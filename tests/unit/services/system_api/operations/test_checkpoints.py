"""The counts that are committed with every batch."""

import pytest

from services.system_api.operations.checkpoints import PART, OwnPart, changes, checkpoint_key, checkpoint_part, split
from services.system_api.sources.source import Batch
from shared.bus.protocol import Outgoing
from shared.events.dead_letter import Reject

EVENT = Outgoing(b"k", b"v")
REJECT = Reject("orders:1", b"x", "bad", "source", "source:f:1")


def test_the_counts_grow_with_each_batch() -> None:
    own = OwnPart(generation=2).after(Batch([EVENT] * 3, [REJECT], rows=6, skipped=2)).after(Batch([EVENT], rows=1))
    assert own == OwnPart(2, rows=7, published=4, rejected=1, skipped=2)
    assert own.unaccounted == 0


def test_what_came_again_and_what_was_parked_is_counted() -> None:
    own = OwnPart().after(Batch([EVENT] * 3, redelivered=2)).after(Batch([], [REJECT], redelivered=1, parked=1))
    assert own == OwnPart(0, rows=4, published=3, rejected=1, redelivered=3, parked=1)
    assert split({PART: own.save()})[0] == own
    assert split({PART: OwnPart(1, 2).save()})[0] == OwnPart(1, 2)


def test_a_row_that_is_in_nothing_is_unaccounted() -> None:
    assert OwnPart().after(Batch([EVENT] * 3, rows=5, skipped=1)).unaccounted == 1
    assert OwnPart().after(Batch([EVENT] * 3, rows=2)).unaccounted == -1


def test_a_source_that_counts_no_rows_has_none_unaccounted() -> None:
    assert OwnPart().after(Batch([EVENT] * 3, [REJECT], skipped=2)) == OwnPart(
        0, rows=6, published=3, rejected=1, skipped=2
    )


def test_events_that_are_refused_are_rejects() -> None:
    own = OwnPart(2).after(Batch([EVENT] * 3, [REJECT], rows=4)).refused(2)
    assert own == OwnPart(2, rows=4, published=1, rejected=3)
    assert own.unaccounted == 0


def test_it_is_saved_beside_the_parts_of_the_source() -> None:
    own = OwnPart(3, 5, 4, 1)
    assert split({"": b"7", PART: own.save()}) == (own, {"": b"7"})
    assert split({"": b"7"}) == (OwnPart(), {"": b"7"})
    assert own.carried_out(4).generation == 4


def test_the_changes_from_one_checkpoint_to_another() -> None:
    assert changes({"a": b"1", "b": b"2"}, {"b": b"2", "c": b"3"}) == {"a": None, "b": b"2", "c": b"3"}


@pytest.mark.parametrize("part", ["", "7", "a/b"])
def test_a_checkpoint_part_and_its_key_map_to_each_other(part: str) -> None:
    assert checkpoint_part("orders", checkpoint_key("orders", part)) == part
