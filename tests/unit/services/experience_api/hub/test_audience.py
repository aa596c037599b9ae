import contextlib
import gc
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.hub.audience import (
    Audiences,
    ChannelNotPermitted,
    Interest,
    _shared,
    check_pattern,
    covers,
    interest_in,
    narrow,
)
from services.experience_api.hub.outbox import Outbox
from shared.errors import Malformed
from tests.unit.services.experience_api.hub.transports import FakeTransport

words = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3)
patterns = st.tuples(words, st.sampled_from([[], ["**"]])).map(lambda parts: ".".join(parts[0] + parts[1])) | st.just(
    "**"
)
channels = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "matches", "not_these"),
    [
        ("orders.eu", ["orders.eu"], ["orders", "orders.eu.north", "ordersXeu", "orders.us"]),
        ("orders.*", ["orders.eu", "orders.us"], ["orders", "orders.eu.north", "stock.eu"]),
        ("*.eu", ["orders.eu", "stock.eu"], ["eu", "orders.us", "a.b.eu"]),
        ("orders.**", ["orders.eu", "orders.eu.north"], ["orders", "ordersX", "stock.orders.eu"]),
        ("*.*.**", ["a.b.c", "a.b.c.d"], ["a", "a.b"]),
        ("**", ["orders", "orders.eu.north"], []),
    ],
)
def test_patterns(pattern: str, matches: list[str], not_these: list[str]) -> None:
    interest = Interest([pattern])
    for _ in range(2):  # the second time from what is remembered
        assert all(interest.wants(channel.encode()) for channel in matches)
        assert not any(interest.wants(channel.encode()) for channel in not_these)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "**.a", "a.**.b", "a*", "***", "é", "a\n", "x" * 201]
)
def test_what_is_no_pattern_is_refused_by_name(text: str) -> None:
    with pytest.raises(Malformed, match=re.escape(repr(text[:80]))):
        check_pattern(text)


@given(patterns, channels)
def test_a_pattern_covers_what_it_matches(pattern: str, channel: str) -> None:
    assert covers(pattern, channel) == Interest([pattern]).wants(channel.encode())


@given(patterns, patterns, st.lists(channels, max_size=30))
def test_what_a_covered_pattern_matches_the_covering_one_does(wide: str, narrow_one: str, some: list[str]) -> None:
    if covers(wide, narrow_one):
        assert {channel for channel in some if Interest([narrow_one]).wants(channel.encode())} <= {
            channel for channel in some if Interest([wide]).wants(channel.encode())
        }


@given(patterns)
def test_a_pattern_covers_itself_and_the_widest_covers_all(pattern: str) -> None:
    assert covers(pattern, pattern)
    assert covers("**", pattern)


@given(patterns, st.lists(channels))
def test_among_agrees_with_wants(pattern: str, some: list[str]) -> None:
    known = {channel.encode() for channel in some}
    for interest in (Interest([pattern]), Interest(["a.b", "c"])):
        assert set(interest.among(known)) == {channel for channel in known if interest.wants(channel)}


def test_nothing_asked_for_is_everything_permitted() -> None:
    assert narrow(["orders.*", "stock"], None).patterns == ("orders.*", "stock")


@pytest.mark.parametrize("asked", ["", " ", ",", " , "])
def test_a_list_that_names_no_channel_is_not_every_channel(asked: str) -> None:
    with pytest.raises(Malformed, match="names no channel"):
        narrow(["orders.*", "stock"], asked)


def test_what_is_asked_for_narrows() -> None:
    assert narrow(["orders.**"], "orders.eu, orders.*.north").patterns == ("orders.*.north", "orders.eu")


@pytest.mark.parametrize("asked", ["stock", "orders", "orders.**", "**", "orders.eu,stock"])
def test_what_is_not_permitted_is_refused_by_name(asked: str) -> None:
    with pytest.raises(ChannelNotPermitted, match=re.escape(repr(asked.rpartition(",")[2]))):
        narrow(["orders.*"], asked)


def test_none_permits_none() -> None:
    assert not narrow([], None).wants(b"orders")
    with pytest.raises(ChannelNotPermitted):
        narrow([], "orders")


def test_too_many_are_refused() -> None:
    with pytest.raises(Malformed, match="1001"):
        narrow(["**"], ",".join(f"c{number}" for number in range(1001)))


def test_too_many_patterns_are_refused() -> None:
    assert len(narrow(["**"], ",".join(f"c{number}.*" for number in range(50)) + ",a,b").patterns) == 52
    with pytest.raises(Malformed, match="51"):
        narrow(["**"], ",".join(f"c{number}.*" for number in range(51)))


@given(st.text())
def test_any_question_is_answered_or_refused(asked: str) -> None:
    with contextlib.suppress(Malformed):
        assert narrow(["a.**", "b"], asked).patterns


def test_equal_interests_are_one_object() -> None:
    assert interest_in(["b", "a"]) is interest_in(["a", "b", "a"])
    assert Interest(["b", "a"]) == Interest(["a", "b"])
    assert repr(interest_in(["b", "a"])) == "Interest(a, b)"


def test_what_nobody_is_interested_in_any_more_is_forgotten() -> None:
    before = len(_shared)
    for number in range(100):
        narrow(["**"], f"one-off-{number}")
    gc.collect()
    assert len(_shared) <= before


class TestAudiences:
    @pytest.fixture
    def audiences(self) -> Audiences[str]:
        return Audiences()

    def names(self, audiences: Audiences[str], channel: str) -> list[str]:
        return sorted(name for audience in audiences.of(channel.encode()) for name in audience.members.values())

    def join(self, audiences: Audiences[str], name: str, *wanted: str) -> tuple[Interest, Outbox]:
        place = (interest_in(wanted), Outbox(FakeTransport(), None, 1000))
        audiences.add(*place, name)
        return place

    def test_members_hear_what_they_want(self, audiences: Audiences[str]) -> None:
        self.join(audiences, "all", "**")
        self.join(audiences, "a", "a")
        assert self.names(audiences, "a") == ["a", "all"]
        assert self.names(audiences, "b") == ["all"]

    def test_members_of_one_interest_share_an_audience(self, audiences: Audiences[str]) -> None:
        self.join(audiences, "first", "a", "b")
        self.join(audiences, "second", "b", "a")
        [audience] = audiences.of(b"a")
        assert list(audience.members.values()) == ["first", "second"]
        assert list(audiences) == [audience]

    def test_who_joins_and_leaves_later_counts_for_channels_already_heard(self, audiences: Audiences[str]) -> None:
        assert self.names(audiences, "a") == []
        exact = self.join(audiences, "exact", "a")
        wild = self.join(audiences, "wild", "*")
        assert self.names(audiences, "a") == ["exact", "wild"]
        audiences.discard(*wild)
        audiences.discard(*wild)
        assert self.names(audiences, "a") == ["exact"]
        audiences.discard(*exact)
        assert self.names(audiences, "a") == []
        assert not list(audiences)

    def test_one_of_two_leaves(self, audiences: Audiences[str]) -> None:
        first = self.join(audiences, "first", "a")
        self.join(audiences, "second", "a")
        audiences.discard(*first)
        assert self.names(audiences, "a") == ["second"]

    def test_more_channels_than_are_remembered(self, audiences: Audiences[str]) -> None:
        self.join(audiences, "all", "**")
        for number in range(20_001):
            assert self.names(audiences, f"c{number}") == ["all"]
