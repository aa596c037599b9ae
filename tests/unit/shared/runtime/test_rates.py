"""Events a second over the last minute."""

from shared.runtime.rates import Rates


def test_the_rate_of_a_steady_source() -> None:
    rates = Rates(0.0)
    for second in range(120):
        rates.add(10, 1, float(second))
    published, rejected = rates.per_second(120.0)
    assert 9.0 <= published <= 10.0
    assert 0.9 <= rejected <= 1.0


def test_a_source_that_has_just_begun_is_measured_over_its_own_time() -> None:
    rates = Rates(0.0)
    assert rates.per_second(0.0) == (0.0, 0.0)
    rates.add(100, 0, 1.0)
    assert rates.per_second(10.0) == (10.0, 0.0)


def test_what_is_older_than_a_minute_does_not_count() -> None:
    rates = Rates(0.0)
    rates.add(100, 100, 0.0)
    assert rates.per_second(60.0) == (0.0, 0.0)
