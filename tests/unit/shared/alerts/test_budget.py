"""The limit of mails an hour."""

from hypothesis import given
from hypothesis import strategies as st

from shared.alerts.budget import Budget


def test_the_mails_of_an_hour_may_be_sent_at_once_and_more_at_that_rate() -> None:
    budget = Budget(4, now=0.0)
    for _ in range(4):
        assert budget.ready_at(0.0) == 0.0
        budget.spend(0.0)
    assert budget.ready_at(0.0) == 900.0
    assert budget.ready_at(900.0) == 900.0


def test_a_clock_that_is_set_back_neither_adds_nor_removes_tokens() -> None:
    budget = Budget(2, now=1000.0)
    budget.spend(1000.0)
    assert budget.ready_at(10.0) == 10.0
    budget.spend(10.0)
    assert budget.ready_at(10.0) > 10.0


def test_a_later_process_continues_with_the_saved_state() -> None:
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
def test_a_mail_may_be_sent_soon_after_any_saved_state(saved: object) -> None:
    budget = Budget(10, now=1000.0)
    budget.restore(saved, now=1000.0)
    assert 1000.0 <= budget.ready_at(1000.0) <= 1000.0 + 360.0


@given(st.integers(1, 20), st.lists(st.floats(0, 4000), max_size=60))
def test_any_span_of_time_has_a_bounded_number_of_mails(per_hour: int, waits: list[float]) -> None:
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
