import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.auth.admission import Admission, AdmissionOptions, Budgets
from services.experience_api.refusals import BUSY, DRAINING, TOKEN_REFUSED, TOO_MANY_ATTEMPTS, Refused
from shared.errors import Unavailable

OPTIONS = AdmissionOptions(failures=3, failures_per_second=2.0, addresses=5, under_way=4, come_back_after=1.5)


def fail(door: Admission, address: str, now: float) -> None:
    with door.attempt(address, now):
        pass


def test_failures_use_a_budget_up_and_time_gives_it_back() -> None:
    door = Admission(OPTIONS)
    for _ in range(3):
        fail(door, "192.0.2.1", 100.0)
    with pytest.raises(Refused) as refused:
        fail(door, "192.0.2.1", 100.1)
    assert refused.value.refusal is TOO_MANY_ATTEMPTS
    assert refused.value.retry_after == pytest.approx(0.4)
    fail(door, "192.0.2.1", 100.5)


def test_one_address_does_not_touch_another() -> None:
    door = Admission(OPTIONS)
    for _ in range(3):
        fail(door, "192.0.2.1", 0.0)
    fail(door, "192.0.2.2", 0.0)


def test_any_number_may_succeed_from_one_address() -> None:
    door = Admission(OPTIONS)
    for _ in range(100):
        with door.attempt("192.0.2.1", 0.0) as attempt:
            attempt.succeeded(0.0)


def test_a_known_client_is_charged_in_place_of_its_address() -> None:
    door = Admission(OPTIONS)
    for _ in range(3):
        with door.attempt("192.0.2.1", 0.0) as attempt:
            attempt.identified("demo", 0.0)
    with door.attempt("192.0.2.1", 0.0) as attempt, pytest.raises(Refused) as refused:
        attempt.identified("demo", 0.0)
    assert refused.value.refusal is TOO_MANY_ATTEMPTS
    with door.attempt("192.0.2.1", 0.0) as attempt:
        attempt.identified("other", 0.0)
        attempt.succeeded(0.0)
    for _ in range(3):
        fail(door, "192.0.2.1", 0.0)


def test_an_attempt_that_took_long_gives_nobody_its_seconds_twice() -> None:
    budgets = Budgets(OPTIONS)
    budgets.take("a", 0.0)
    for _ in range(2):
        budgets.take("a", 0.4)
    budgets.give_back("a", 0.0)  # begun then, and failed by our fault after the others
    budgets.take("a", 0.4)
    with pytest.raises(Refused):
        budgets.take("a", 0.4)


@pytest.mark.parametrize("error", [Refused(BUSY), Unavailable("the database is away"), ValueError("a bug")])
def test_what_fails_by_our_fault_is_charged_to_nobody(error: Exception) -> None:
    door = Admission(OPTIONS)

    def fail_for_us() -> None:
        with door.attempt("192.0.2.1", 0.0) as attempt:
            attempt.identified("demo", 0.0)
            raise error

    for _ in range(10):
        with pytest.raises(type(error)):
            fail_for_us()


def test_a_refusal_is_charged() -> None:
    door = Admission(OPTIONS)
    for _ in range(3):
        with pytest.raises(Refused), door.attempt("192.0.2.1", 0.0):
            raise Refused(TOKEN_REFUSED)
    with pytest.raises(Refused) as refused:
        fail(door, "192.0.2.1", 0.0)
    assert refused.value.refusal is TOO_MANY_ATTEMPTS


def test_a_moment_that_has_passed_takes_nothing_back() -> None:
    budgets = Budgets(OPTIONS)
    budgets.take("192.0.2.1", 100.0)
    budgets.give_back("192.0.2.1", 0.0)
    for _ in range(3):
        budgets.take("192.0.2.1", 100.0)


def test_those_under_way_are_bounded() -> None:
    door = Admission(OPTIONS)
    with contextlib.ExitStack() as stack:
        for number in range(4):
            stack.enter_context(door.attempt(f"192.0.2.{number}", 0.0))
        assert door.under_way == 4
        with pytest.raises(Refused) as refused:
            fail(door, "192.0.2.9", 0.0)
        assert refused.value.refusal is BUSY
        assert refused.value.retry_after == 1.5
    assert door.under_way == 0
    fail(door, "192.0.2.9", 0.0)


def test_one_address_cannot_hold_every_place() -> None:
    door = Admission(OPTIONS)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(door.attempt("192.0.2.1", 0.0))
        with pytest.raises(Refused):
            fail(door, "192.0.2.1", 0.0)
        fail(door, "192.0.2.2", 0.0)


def test_a_closed_door_lets_nobody_in() -> None:
    door = Admission(OPTIONS)
    door.close()
    with pytest.raises(Refused) as refused:
        fail(door, "192.0.2.1", 0.0)
    assert refused.value.refusal is DRAINING


def test_a_failure_inside_leaves_the_door() -> None:
    door = Admission(OPTIONS)
    with pytest.raises(ValueError, match="inside"), door.attempt("192.0.2.1", 0.0):
        raise ValueError("inside")
    assert door.under_way == 0


def test_memory_is_bounded_whatever_the_number_of_addresses() -> None:
    budgets = Budgets(OPTIONS)
    for number in range(1000):
        budgets.take(f"address {number}", 0.0)
    assert len(budgets) == 5


def test_a_budget_that_is_full_again_is_forgotten() -> None:
    budgets = Budgets(OPTIONS)
    budgets.take("192.0.2.1", 0.0)
    budgets.give_back("192.0.2.1", 0.0)
    assert len(budgets) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60))
def test_no_order_of_attempts_fails_more_often_than_allowed(steps: list[tuple[float, bool]]) -> None:
    door = Admission(OPTIONS)
    now, failed = 0.0, 0
    for pause, honest in steps:
        now += pause
        with contextlib.suppress(Refused), door.attempt("192.0.2.1", now) as attempt:
            if honest:
                attempt.succeeded(now)
            else:
                failed += 1
    assert failed <= OPTIONS.failures + now * OPTIONS.failures_per_second
