"""When requests may be sent."""

from hypothesis import given
from hypothesis import strategies as st

from shared.http.client.pace import Pace, RateOptions


def test_without_a_budget_nothing_waits() -> None:
    pace = Pace(None)
    for now in (0.0, 0.0, 0.1):
        assert pace.wait(now) == 0
        pace.sent(now)


def test_requests_are_evenly_spaced_after_a_burst() -> None:
    pace = Pace(RateOptions(requests=10, seconds=100, burst=3))
    for _ in range(3):
        assert pace.wait(50.0) == 0
        pace.sent(50.0)
    assert pace.wait(50.0) == 10
    assert pace.wait(60.0) == 0


def test_a_hold_is_never_shortened() -> None:
    pace = Pace(None)
    pace.hold(10.0, 30)
    pace.hold(11.0, 5)
    assert pace.held_for(12.0) == pace.wait(12.0) == 28
    assert pace.held_for(41.0) == pace.wait(41.0) == 0


@given(st.integers(1, 20), st.floats(0.1, 100), st.integers(1, 30), st.lists(st.floats(0, 10), max_size=60))
def test_the_budget_is_kept_in_every_window(requests: int, seconds: float, burst: int, pauses: list[float]) -> None:
    pace = Pace(RateOptions(requests=requests, seconds=seconds, burst=burst))
    now, sent = 0.0, list[float]()
    for pause in pauses:
        now += pause
        now += pace.wait(now)
        pace.sent(now)
        sent.append(now)
    for index, begin in enumerate(sent):
        within = [at for at in sent[index:] if at < begin + seconds * 0.999]
        assert len(within) <= requests + min(burst, requests) - 1
