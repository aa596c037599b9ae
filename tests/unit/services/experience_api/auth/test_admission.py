import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.auth.admission import Admission, AdmissionOptions, Budgets
from services.experience_api.refusals import BUSY, DRAINING, TOKEN_REFUSED, TOO_MANY_ATTEMPTS, Refused
from shared.errors import Unavailable

OPTIONS = AdmissionOptions(failures=3, failures_per_second=2.0, addresses=5, max_concurrent=4, retry_after=1.5)


def fail(admission: Admission, address: str, now: float) -> None:
    """Raise what the attempt is answered, unless that is its own refusal."""
    with pytest.raises(Refused) as refused, admission.attempt(address, now):
        raise Refused(TOKEN_REFUSED)
    if refused.value.refusal is not TOKEN_REFUSED:
        raise refused.value


def test_failures_use_up_a_budget_and_time_restores_it() -> None:
    admission = Admission(OPTIONS)
    for _ in range(3):
        fail(admission, "192.0.2.1", 100.0)
    with pytest.raises(Refused) as refused:
        fail(admission, "192.0.2.1", 100.1)
    assert refused.value.refusal is TOO_MANY_ATTEMPTS
    assert refused.value.retry_after == pytest.approx(0.4)
    fail(admission, "192.0.2.1", 100.5)


def test_addresses_do_not_affect_each_other() -> None:
    admission = Admission(OPTIONS)
    for _ in range(3):
        fail(admission, "192.0.2.1", 0.0)
    fail(admission, "192.0.2.2", 0.0)


def test_any_number_may_succeed_from_one_address() -> None:
    admission = Admission(OPTIONS)
    for _ in range(100):
        with admission.attempt("192.0.2.1", 0.0) as attempt:
            attempt.succeeded(0.0)


def test_a_proven_client_is_charged_instead_of_its_address() -> None:
    admission = Admission(OPTIONS)
    for _ in range(3):
        with admission.attempt("192.0.2.1", 0.0) as attempt:
            attempt.proven("demo", 0.0)
    with admission.attempt("192.0.2.1", 0.0) as attempt, pytest.raises(Refused) as refused:
        attempt.proven("demo", 0.0)
    assert refused.value.refusal is TOO_MANY_ATTEMPTS
    with admission.attempt("192.0.2.1", 0.0) as attempt:
        attempt.proven("other", 0.0)
        attempt.succeeded(0.0)
    for _ in range(3):
        fail(admission, "192.0.2.1", 0.0)


def test_an_address_that_fails_does_not_exclude_what_proves_itself() -> None:
    admission = Admission(OPTIONS)
    for _ in range(10):
        with contextlib.suppress(Refused):
            fail(admission, "192.0.2.1", 0.0)
    for _ in range(100):
        with admission.attempt("192.0.2.1", 0.0) as attempt:
            assert attempt.crowded
            attempt.proven("demo", 0.0)
            assert not attempt.crowded
            attempt.succeeded(0.0)
    with admission.attempt("192.0.2.1", 0.0) as attempt:
        attempt.succeeded(0.0)  # proven by its success alone
    with pytest.raises(Refused):
        fail(admission, "192.0.2.1", 0.0)


def test_a_client_that_fails_at_one_address_may_succeed_at_another() -> None:
    admission = Admission(OPTIONS)
    for _ in range(4):
        with contextlib.suppress(Refused), admission.attempt("192.0.2.1", 0.0) as attempt:
            attempt.proven("demo", 0.0)
            raise Refused(TOKEN_REFUSED)
    with admission.attempt("192.0.2.2", 0.0) as attempt:
        attempt.proven("demo", 0.0)
        attempt.succeeded(0.0)


def test_a_crowded_attempt_that_fails_learns_why_and_when_to_try_again() -> None:
    admission = Admission(OPTIONS)
    for _ in range(3):
        fail(admission, "192.0.2.1", 0.0)
    with pytest.raises(Refused) as refused:
        fail(admission, "192.0.2.1", 0.0)
    assert refused.value.refusal is TOO_MANY_ATTEMPTS
    assert refused.value.detail == "The token is not valid: register again; too many attempts: wait"
    assert refused.value.retry_after == pytest.approx(0.5)


def test_unproven_requests_in_progress_do_not_exclude_proven_ones() -> None:
    admission = Admission(OPTIONS)
    with contextlib.ExitStack() as stack:
        proven = stack.enter_context(admission.attempt("192.0.2.1", 0.0))
        proven.proven("one", 0.0)
        for number in range(4):
            stack.enter_context(admission.attempt(f"192.0.2.{number}", 0.0))
        with pytest.raises(Refused) as refused:
            fail(admission, "192.0.2.9", 0.0)
        assert refused.value.refusal is BUSY
        assert admission.in_progress == 5
    assert admission.in_progress == 0


def test_proven_requests_in_progress_are_limited_too() -> None:
    admission = Admission(OPTIONS)
    with contextlib.ExitStack() as stack:
        for number in range(4):
            stack.enter_context(admission.attempt("192.0.2.1", 0.0)).proven(f"client {number}", 0.0)
        for _ in range(5):  # a refusal of this kind is charged to nobody
            with pytest.raises(Refused) as refused, admission.attempt("192.0.2.1", 0.0) as attempt:
                attempt.proven("client 5", 0.0)
            assert refused.value.refusal is BUSY
    assert admission.in_progress == 0
    with admission.attempt("192.0.2.1", 0.0) as attempt:
        attempt.proven("client 5", 0.0)


def test_a_long_attempt_does_not_refill_the_budget_twice() -> None:
    budgets = Budgets.of(OPTIONS)
    budgets.take("a", 0.0)
    for _ in range(2):
        budgets.take("a", 0.4)
    budgets.give_back("a", 0.0)  # started then, and failed by an error of the service after the others
    budgets.take("a", 0.4)
    with pytest.raises(Refused):
        budgets.take("a", 0.4)


@pytest.mark.parametrize("error", [Refused(BUSY), Unavailable("the database is unavailable"), ValueError("a bug")])
def test_an_error_of_the_service_is_not_charged(error: Exception) -> None:
    admission = Admission(OPTIONS)

    def fail_internally() -> None:
        with admission.attempt("192.0.2.1", 0.0) as attempt:
            attempt.proven("demo", 0.0)
            raise error

    for _ in range(10):
        with pytest.raises(type(error)):
            fail_internally()


def test_a_refusal_is_charged() -> None:
    admission = Admission(OPTIONS)
    for _ in range(3):
        with pytest.raises(Refused), admission.attempt("192.0.2.1", 0.0):
            raise Refused(TOKEN_REFUSED)
    with pytest.raises(Refused) as refused:
        fail(admission, "192.0.2.1", 0.0)
    assert refused.value.refusal is TOO_MANY_ATTEMPTS


def test_an_earlier_time_takes_nothing_back() -> None:
    budgets = Budgets.of(OPTIONS)
    budgets.take("192.0.2.1", 100.0)
    budgets.give_back("192.0.2.1", 0.0)
    for _ in range(3):
        budgets.take("192.0.2.1", 100.0)


def test_requests_in_progress_are_limited() -> None:
    admission = Admission(OPTIONS)
    with contextlib.ExitStack() as stack:
        for number in range(4):
            stack.enter_context(admission.attempt(f"192.0.2.{number}", 0.0))
        assert admission.in_progress == 4
        with pytest.raises(Refused) as refused:
            fail(admission, "192.0.2.9", 0.0)
        assert refused.value.refusal is BUSY
        assert refused.value.retry_after == 1.5
    assert admission.in_progress == 0
    fail(admission, "192.0.2.9", 0.0)


def test_attempts_of_one_address_beyond_its_budget_are_crowded() -> None:
    admission = Admission(OPTIONS)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(admission.attempt("192.0.2.1", 0.0))
        with pytest.raises(Refused):
            fail(admission, "192.0.2.1", 0.0)
        assert stack.enter_context(admission.attempt("192.0.2.1", 0.0)).crowded


def test_a_closed_admission_refuses_every_request() -> None:
    admission = Admission(OPTIONS)
    admission.close()
    with pytest.raises(Refused) as refused:
        fail(admission, "192.0.2.1", 0.0)
    assert refused.value.refusal is DRAINING


def test_an_error_ends_the_request_in_progress() -> None:
    admission = Admission(OPTIONS)
    with pytest.raises(ValueError, match="inside"), admission.attempt("192.0.2.1", 0.0):
        raise ValueError("inside")
    assert admission.in_progress == 0


def test_memory_is_limited_for_any_number_of_addresses() -> None:
    budgets = Budgets.of(OPTIONS)
    for number in range(1000):
        budgets.take(f"address {number}", 0.0)
    assert len(budgets) == 5


def test_a_budget_that_is_full_again_is_dropped() -> None:
    budgets = Budgets.of(OPTIONS)
    budgets.take("192.0.2.1", 0.0)
    budgets.give_back("192.0.2.1", 0.0)
    assert len(budgets) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60))
def test_no_order_of_attempts_fails_more_often_than_allowed_or_excludes_one_that_succeeds(
    steps: list[tuple[float, bool]],
) -> None:
    admission = Admission(OPTIONS)
    now, failed = 0.0, 0
    for pause, valid in steps:
        now += pause
        if valid:
            with admission.attempt("192.0.2.1", now) as attempt:
                attempt.succeeded(now)
        else:
            with contextlib.suppress(Refused):
                fail(admission, "192.0.2.1", now)
                failed += 1  # answered with its own refusal
    assert failed <= OPTIONS.failures + now * OPTIONS.failures_per_second
