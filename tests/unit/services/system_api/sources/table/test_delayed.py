"""Bounds that are applied later."""

from services.system_api.sources.table.delayed import Delayed


def test_without_a_delay_the_bound_is_that_of_now() -> None:
    delayed = Delayed[int](0)
    assert [delayed.observe(bound, 0) for bound in (5, None, 7)] == [5, None, 7]


def test_a_bound_is_returned_once_it_is_old_enough() -> None:
    delayed = Delayed[int](10)
    assert [delayed.observe(int(now * 100), now) for now in (0, 5, 9.9, 10, 14, 15, 40)] == [
        None, None, None, 0, 0, 500, 1500,
    ]  # fmt: skip
    assert delayed.observe(None, 50) == 4000


def test_few_observations_are_kept() -> None:
    delayed = Delayed[int](10)
    found = [delayed.observe(number, number / 1000) for number in range(20_000)]
    assert len(delayed._observed) <= 66
    assert found[-1] is not None
    assert 9_500 <= found[-1] <= 9_999
