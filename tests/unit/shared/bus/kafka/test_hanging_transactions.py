"""An open transaction is reported once its coordinator has had the time to end it, and not before."""

from shared.bus.kafka.hanging_transactions import HangingTransactions

TIMEOUT = 30.0
HANGING_AFTER = TIMEOUT + 21.0
"""Coordinators look for transactions beyond their timeout every ten seconds."""


def test_a_partition_that_can_be_read_to_its_end_has_none() -> None:
    hanging = HangingTransactions("t", TIMEOUT)
    assert hanging.check(0, 5, 5, 0.0) is None
    assert hanging.check(0, 5, 5, 10 * HANGING_AFTER) is None


def test_one_is_reported_after_the_timeout_and_until_it_ends() -> None:
    hanging = HangingTransactions("t", TIMEOUT)
    assert hanging.check(3, 5, 9, 100.0) is None
    assert hanging.check(3, 5, 9, 100.0 + TIMEOUT) is None
    problem = hanging.check(3, 5, 12, 100.0 + HANGING_AFTER)
    assert problem is not None
    assert "t/3" in problem
    assert "offset 5" in problem
    assert "51 s" in problem
    assert hanging.check(3, 13, 13, 101.0 + HANGING_AFTER) is None


def test_transactions_one_after_the_other_do_not_hang() -> None:
    hanging = HangingTransactions("t", TIMEOUT)
    assert hanging.check(0, 5, 9, 0.0) is None
    assert hanging.check(0, 9, 12, HANGING_AFTER) is None
    assert hanging.check(0, 9, 15, 2 * HANGING_AFTER) is not None


def test_each_partition_has_its_own_time() -> None:
    hanging = HangingTransactions("t", TIMEOUT)
    assert hanging.check(0, 5, 9, 0.0) is None
    assert hanging.check(1, 5, 9, HANGING_AFTER) is None
    assert hanging.check(0, 5, 9, HANGING_AFTER) is not None


def test_time_in_which_no_broker_answered_does_not_count() -> None:
    hanging = HangingTransactions("t", TIMEOUT)
    assert hanging.check(0, 5, 9, 0.0) is None
    hanging.reset()
    assert hanging.check(0, 5, 9, HANGING_AFTER) is None
