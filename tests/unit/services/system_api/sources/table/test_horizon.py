"""The horizon never passes a row that may still appear, and waits for no other transaction."""

from services.system_api.sources.table.horizon import Horizon


def test_without_open_transactions_the_bound_is_the_horizon() -> None:
    horizon = Horizon()
    assert horizon.value is None
    horizon.observe(10, set())
    assert horizon.value == 10


def test_it_waits_for_the_transactions_that_were_open_and_no_others() -> None:
    horizon = Horizon()
    horizon.observe(10, {"1/1", "2/1"})
    horizon.observe(20, {"2/1", "3/1"})
    assert horizon.value is None
    horizon.observe(30, {"3/1", "4/1"})
    assert horizon.value == 10
    horizon.observe(40, {"4/1"})
    assert horizon.value == 20


def test_without_a_bound_it_only_resolves() -> None:
    horizon = Horizon()
    horizon.observe(10, {"1/1"})
    horizon.observe(None, set())
    assert horizon.value == 10


def test_a_prepared_transaction_is_waited_for() -> None:
    horizon = Horizon()
    horizon.observe(10, {"1/1"})
    horizon.observe(20, set(), {"p700"})
    assert horizon.value is None
    horizon.observe(30, set(), {"p700"})
    assert horizon.value is None
    horizon.observe(40, set(), set())
    assert horizon.value == 40


def test_a_transaction_prepared_long_before_holds_back_only_what_it_may_have_written() -> None:
    horizon = Horizon()
    horizon.observe(10, set(), {"p700"})
    horizon.observe(20, {"1/1"}, {"p700"})
    horizon.observe(30, {"1/1"}, set())
    assert horizon.value == 10


def test_it_never_moves_back() -> None:
    horizon = Horizon()
    horizon.observe(10, set())
    horizon.observe(5, set())
    assert horizon.value == 10


def test_thousands_of_polls_under_one_long_transaction_keep_few_observations() -> None:
    horizon = Horizon()
    for number in range(10_000):
        horizon.observe(number, {"1/1", f"2/{number}"})
    assert len(horizon._pending) <= 64
    horizon.observe(20_000, set())
    assert horizon.value == 20_000


def test_many_different_observations_are_thinned_out_and_the_newest_is_kept() -> None:
    horizon = Horizon()
    transactions = [f"{number}/1" for number in range(100)]
    for number in range(100):
        horizon.observe(number, set(transactions[: number + 1]))
        assert len(horizon._pending) <= 64
    horizon.observe(None, set(transactions[50:]))
    assert horizon.value is not None
    assert horizon.value < 50
    horizon.observe(None, set())
    assert horizon.value == 99


def test_it_tells_which_transactions_it_waits_for() -> None:
    horizon = Horizon()
    assert horizon.waits_for == frozenset()
    horizon.observe(10, {"1/1", "1/2"})
    horizon.observe(20, {"1/2", "1/3"})
    assert horizon.waits_for == {"1/2"}
    horizon.observe(30, {"1/3"})
    assert (horizon.value, set(horizon.waits_for)) == (10, {"1/3"})


def test_it_is_raised_for_another_reason_and_never_lowered() -> None:
    horizon = Horizon()
    horizon.observe(10, {"1/1"})
    horizon.raise_to(5)
    horizon.raise_to(4)
    assert (horizon.value, set(horizon.waits_for)) == (5, {"1/1"})
    horizon.raise_to(10)
    assert (horizon.value, horizon.waits_for) == (10, frozenset())


def test_a_transaction_that_gets_another_name_is_waited_for_under_both() -> None:
    horizon = Horizon()
    horizon.observe(10, {"1?"})
    horizon.also("2?", "y")
    horizon.also("1?", "x")
    horizon.observe(20, {"x"})
    assert horizon.value is None
    horizon.observe(30, {"1?"})
    assert horizon.value == 20, "another statement of the connection holds back what was observed since"
    horizon.observe(40, set())
    assert horizon.value == 40
