"""A transaction that lies open is said when its coordinator has had the time to end it, and not before."""

from shared.bus.kafka.standstill import Standstill

LONGEST = 30.0
ENOUGH = LONGEST + 21.0
"""Coordinators look every ten seconds for transactions that have lain open for too long."""


def test_a_partition_that_can_be_read_to_its_end_is_fine_for_ever() -> None:
    standstill = Standstill("t", LONGEST)
    assert standstill.note(0, 5, 5, 0.0) is None
    assert standstill.note(0, 5, 5, 10 * ENOUGH) is None


def test_one_that_lies_open_is_said_after_its_time_and_until_it_is_ended() -> None:
    standstill = Standstill("t", LONGEST)
    assert standstill.note(3, 5, 9, 100.0) is None
    assert standstill.note(3, 5, 9, 100.0 + LONGEST) is None
    said = standstill.note(3, 5, 12, 100.0 + ENOUGH)
    assert said is not None
    assert "t/3" in said
    assert "offset 5" in said
    assert "51 s" in said
    assert standstill.note(3, 13, 13, 101.0 + ENOUGH) is None


def test_one_after_the_other_is_no_standstill() -> None:
    standstill = Standstill("t", LONGEST)
    assert standstill.note(0, 5, 9, 0.0) is None
    assert standstill.note(0, 9, 12, ENOUGH) is None
    assert standstill.note(0, 9, 15, 2 * ENOUGH) is not None


def test_partitions_do_not_share_their_time() -> None:
    standstill = Standstill("t", LONGEST)
    assert standstill.note(0, 5, 9, 0.0) is None
    assert standstill.note(1, 5, 9, ENOUGH) is None
    assert standstill.note(0, 5, 9, ENOUGH) is not None


def test_time_in_which_nobody_answered_does_not_count() -> None:
    standstill = Standstill("t", LONGEST)
    assert standstill.note(0, 5, 9, 0.0) is None
    standstill.forget()
    assert standstill.note(0, 5, 9, ENOUGH) is None
