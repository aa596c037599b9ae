"""Keys of the changelog."""

from hypothesis import given
from hypothesis import strategies as st

from services.process_api.state.keys import LAST_TIME, LONGEST_KEY, bounded, prefix_of, time_key, time_of

times = st.integers(0, LAST_TIME)


@given(times, times)
def test_times_are_ordered_as_bytes(one: int, other: int) -> None:
    assert (time_key(one) < time_key(other)) == (one < other)
    assert time_of(time_key(one) + b"key") == one


def test_times_out_of_range_are_at_its_ends() -> None:
    assert time_of(time_key(-5)) == 0
    assert time_of(time_key(10**30)) == LAST_TIME


def test_a_key_has_a_bounded_length_and_stays_distinct() -> None:
    longest = b"x" * LONGEST_KEY
    assert bounded(longest) == longest
    assert len(bounded(longest + b"1")) == LONGEST_KEY
    assert len({bounded(longest), bounded(longest + b"1"), bounded(longest + b"2")}) == 3


def test_instances_have_prefixes_of_one_length() -> None:
    assert {len(prefix_of(number)) for number in (1, 255, 256, 2**32 - 1)} == {4}
