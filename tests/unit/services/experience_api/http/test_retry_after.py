import random
import statistics

import pytest

from services.experience_api.http.retry_after import RetryAfter
from services.experience_api.refusals import BUSY, DRAINING, TOO_MANY_ATTEMPTS, UNAVAILABLE, Refusal, Refused
from tests.unit.services.experience_api.clocks import StillClock

CROWD = 5_000


def waits(retry_after: RetryAfter, count: int = CROWD, refusal: Refusal = UNAVAILABLE) -> list[float]:
    found = [retry_after.spread(Refused(refusal, retry_after=1.0)).retry_after for _ in range(count)]
    return [wait for wait in found if wait is not None]


def test_the_time_that_a_crowd_waits_grows_with_the_outage_and_differs_for_each() -> None:
    clock = StillClock()
    retry_after = RetryAfter(clock, random.Random(1))
    longest = []
    for _ in range(4):
        found = waits(retry_after)
        assert 1.0 <= min(found) < 3.0
        assert len(set(found)) == len(found)
        longest.append(max(found))
        clock.pass_time(20)
    assert longest[0] <= 2.0
    assert 15.0 < longest[1] <= 21.0
    assert 25.0 < longest[2] <= 31.0
    assert longest[3] <= 31.0


@pytest.mark.parametrize("outage", [5.0, 20.0, 600.0])
def test_a_few_clients_need_not_wait_longer(outage: float) -> None:
    clock = StillClock()
    retry_after = RetryAfter(clock, random.Random(1))
    for _ in range(int(outage)):
        assert max(waits(retry_after, 50)) <= 2.0
        clock.pass_time(1)


def test_those_who_are_too_many_wait_for_as_long_as_they_need_to_come_back_one_after_the_other() -> None:
    clock = StillClock()
    retry_after = RetryAfter(clock, random.Random(1))
    waits(retry_after, 1)
    clock.pass_time(25)
    found = waits(retry_after, 800)
    assert 2.0 < statistics.fmean(found) - 1.0 < 3.0  # to 8 s at the end, and half of it as a mean
    assert 7.0 < max(found) <= 9.0
    clock.pass_time(5)
    assert 2.0 < max(waits(retry_after, 100)) <= 5.0  # 3 s of them are left
    clock.pass_time(30)
    assert max(waits(retry_after, 100)) <= 2.0


def test_a_crowd_is_not_remembered_for_longer_than_it_is_told_to_wait() -> None:
    clock = StillClock()
    retry_after = RetryAfter(clock, random.Random(1))
    for _ in range(60):
        waits(retry_after, 200)
        clock.pass_time(1)
    clock.pass_time(29)
    assert max(waits(retry_after, 50)) <= 2.0


def test_how_many_a_busy_service_can_serve_is_not_known() -> None:
    clock = StillClock()
    retry_after = RetryAfter(clock, random.Random(1))
    waits(retry_after, 50, BUSY)
    clock.pass_time(20)
    assert 15.0 < max(waits(retry_after, 50, BUSY)) <= 21.0


def test_a_request_that_is_served_ends_the_outage() -> None:
    clock = StillClock()
    retry_after = RetryAfter(clock, random.Random(1))
    waits(retry_after)
    clock.pass_time(20)
    retry_after.served()
    assert max(waits(retry_after)) <= 2.0


def test_a_refusal_long_after_the_last_one_is_a_new_outage() -> None:
    clock = StillClock()
    retry_after = RetryAfter(clock, random.Random(1))
    waits(retry_after)
    clock.pass_time(61)
    assert max(waits(retry_after)) <= 2.0


@pytest.mark.parametrize("refused", [Refused(DRAINING, retry_after=1.0), Refused(TOO_MANY_ATTEMPTS, retry_after=7.0)])
def test_other_refusals_keep_their_time(refused: Refused) -> None:
    assert RetryAfter(StillClock(), random.Random(1)).spread(refused) is refused


def test_a_busy_replica_spreads_its_clients_too() -> None:
    found = RetryAfter(StillClock(), random.Random(1)).spread(Refused(BUSY, "detail"))
    assert (found.refusal, found.detail) == (BUSY, "detail")
    assert found.retry_after is not None
    assert 1.0 <= found.retry_after <= 2.0
