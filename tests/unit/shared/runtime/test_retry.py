"""The retry policy: what, how often, how long."""

import random

import pytest
from pydantic import ValidationError
from tenacity import RetryCallState

from shared.errors import Malformed, Unauthorized, Unavailable
from shared.runtime.clock import SystemClock
from shared.runtime.retry import FullJitter, RetryOptions, retrying

INSTANT = RetryOptions(attempts=3, first_wait=0, longest_wait=0)


class Recording(SystemClock):
    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def attempts_of(error: Exception, options: RetryOptions = INSTANT) -> int:
    tried = 0

    async def fails() -> None:
        nonlocal tried
        tried += 1
        raise error

    with pytest.raises(type(error)):
        await retrying(options)(fails)
    return tried


@pytest.mark.parametrize("error", [Unavailable("away"), Unauthorized("refused")])
async def test_unavailable_is_retried(error: Exception) -> None:
    assert await attempts_of(error) == 3


@pytest.mark.parametrize("error", [Malformed("bad"), ValueError("a bug")])
async def test_any_other_error_is_raised_at_once(error: Exception) -> None:
    assert await attempts_of(error) == 1


async def test_waits_are_random_shares_of_a_doubling_ceiling() -> None:
    clock, seen = Recording(), list[int]()
    policy = retrying(
        RetryOptions(attempts=6, first_wait=1, longest_wait=5),
        clock=clock,
        rng=random.Random(7),
        on_retry=lambda state: seen.append(state.attempt_number),
    )

    async def fails() -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        await policy(fails)
    assert seen == [1, 2, 3, 4, 5]
    assert all(wait <= ceiling for wait, ceiling in zip(clock.waits, [1, 2, 4, 5, 5], strict=True))
    assert len(set(clock.waits)) == 5


async def test_no_attempt_begins_after_the_limit() -> None:
    assert await attempts_of(Unavailable("away"), INSTANT.model_copy(update={"give_up_after": 1e-9})) == 1


def test_thousands_of_attempts_do_not_overflow() -> None:
    state = RetryCallState(retrying(INSTANT), None, (), {})
    state.attempt_number = 5000
    assert FullJitter(RetryOptions(), random.Random(1))(state) <= RetryOptions().longest_wait


def test_waits_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="first_wait"):
        RetryOptions(first_wait=10, longest_wait=1)
