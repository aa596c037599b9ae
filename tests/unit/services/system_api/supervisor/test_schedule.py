"""When to poll, probe and restart."""

import pytest

from services.system_api.supervisor.schedule import Schedule
from shared.runtime.retry import RetryOptions

SCHEDULE = Schedule(1.0, RetryOptions(first_wait=0.2, longest_wait=30))


@pytest.mark.parametrize(
    ("took", "roll", "delay"),
    [(0, 0, 1.0), (0, 0.5, 1.05), (0.25, 0, 0.75), (0.95, 0, 0.095), (10, 0.9, 1.0)],
)
def test_the_interval_includes_the_last_poll_but_leaves_the_upstream_a_pause(
    took: float, roll: float, delay: float
) -> None:
    assert SCHEDULE.next_poll(took, roll) == pytest.approx(delay)


def test_probes_wait_for_the_longest_wait_less_jitter() -> None:
    assert [SCHEDULE.next_probe(roll) for roll in (0, 0.5)] == pytest.approx([30, 28.5])


def test_probes_have_an_interval_of_their_own_where_one_is_set() -> None:
    schedule = Schedule(1.0, RetryOptions(longest_wait=5, probe_interval=300))
    assert [schedule.next_probe(roll) for roll in (0, 1)] == pytest.approx([300, 270])


def test_pauses_double_up_to_the_ceiling_and_are_never_zero() -> None:
    least = [SCHEDULE.after_failures(failures, 0) for failures in range(1, 10)]
    most = [SCHEDULE.after_failures(failures, 1) for failures in range(1, 10)]
    assert most == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])
    assert least == pytest.approx([pause / 2 for pause in most])
    assert SCHEDULE.after_failures(100_000, 1) == 30
