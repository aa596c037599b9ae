import itertools

from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.hub.audience import interest_in
from services.experience_api.latest.ranges import ChannelRange, ranges_of
from tests.unit.services.experience_api.latest.memory import matches

words = st.sampled_from(["a", "b", "a-b", "a_b", "B"])
channels = st.lists(words, min_size=1, max_size=3).map(".".join)
wildcards = st.tuples(st.lists(st.one_of(words, st.just("*")), min_size=1, max_size=3), st.booleans()).map(
    lambda found: ".".join([*found[0], *(["**"] if found[1] else [])])
)
patterns = st.one_of(channels, wildcards, st.just("**"))


@given(st.lists(patterns, min_size=1, max_size=6), channels)
def test_exactly_one_range_means_a_channel_that_matches(found: list[str], channel: str) -> None:
    within = [each for each in ranges_of(found) if each.low <= channel < each.high and matches(each, channel)]
    assert len(within) == int(interest_in(found).matches(channel.encode()))


@given(st.lists(patterns, min_size=1, max_size=6))
def test_ranges_are_in_order_and_apart(found: list[str]) -> None:
    ranges = ranges_of(found)
    assert all(one.low < one.high for one in ranges)
    assert all(one.high <= other.low for one, other in itertools.pairwise(ranges))


def test_a_range_that_is_meant_as_a_whole_needs_no_expression() -> None:
    assert ranges_of(["orders.**", "orders.eu", "news"]) == [
        ChannelRange("news", "news!", None, "$^"),
        ChannelRange("orders.", "orders/", None, "$^"),
    ]
    assert ranges_of(["orders.*", "orders.eu.north"]) == [
        ChannelRange("orders.", "orders/", ("orders.eu.north",), r"^(orders\.[^.]+)$")
    ]
    assert ranges_of(["*.eu", "**"]) == [ChannelRange("", "~", None, "$^")]
