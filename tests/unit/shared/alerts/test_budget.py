from hypothesis import given
from hypothesis import strategies as st

from shared.alerts.budget import Budget


def test_as_many_at_once_as_an_hour_has_and_then_at_that_pace() -> None:
    budget = Budget(4, now=0.0)
    for _ in range(4):
        assert budget.ready_at(0.0) == 0.0
        budget.spend(0.0)
    assert budget.ready_at(0.0) == 900.0
    assert budget.ready_at(900.0) == 900.0


def test_a_clock_that_is_set_back_neither_fills_nor_empties() -> None:
    budget = Budget(2, now=1000.0)
    budget.spend(1000.0)
    assert budget.ready_at(10.0) == 10.0
    budget.spend(10.0)
    assert budget.ready_at(10.0) > 10.0


def test_a_later_process_goes_on_from_what_was_saved() -> None:
    first = Budget(2, now=0.0)
    first.spend(0.0)
    first.spend(0.0)
    second = Budget(2, now=60.0)
    second.restore(first.save(), now=60.0)
    assert second.ready_at(60.0) == first.ready_at(60.0) == 1800.0


@given(
    st.none()
    | st.text()
    | st.dictionaries(
        st.sampled_from(["tokens", "at"]), st.none() | st.text() | st.floats() | st.integers(), min_size=1
    )
)
def test_whatever_was_saved_there_is_mail_within_an_hours_share(saved: object) -> None:
    budget = Budget(10, now=1000.0)
    budget.restore(saved, now=1000.0)
    assert 1000.0 <= budget.ready_at(1000.0) <= 1000.0 + 360.0


@given(st.integers(1, 20), st.lists(st.floats(0, 4000), max_size=60))
def test_any_span_of_time_has_a_bounded_number(per_hour: int, waits: list[float]) -> None:
    budget = Budget(per_hour, now=0.0)
    now, spent = 0.0, []
    for wait in waits:
        now = budget.ready_at(now + wait)
        budget.spend(now)
        spent.append(now)
    for first, start in enumerate(spent):
        for last in range(first, len(spent)):
            hours = (spent[last] - start) / 3600
            assert last - first + 1 <= per_hour * (1 + hours) + 1e-6
