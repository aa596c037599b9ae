import contextlib
import gc
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.hub import audience
from services.experience_api.hub.audience import (
    Audiences,
    ChannelNotPermitted,
    Interest,
    _shared,
    interest_in,
    narrow,
)
from services.experience_api.hub.outbox import Outbox
from services.experience_api.hub.patterns import covers
from services.experience_api.wire.frames import event_frame
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
    assert all(interest.matches(channel.encode()) for channel in matches)
    assert not any(interest.matches(channel.encode()) for channel in not_these)


def test_interests_with_other_conflation_are_others() -> None:
    one, other = interest_in(["a"], conflate=0.5), interest_in(["a"], conflate=1.0)
    assert one != other
    assert one is interest_in(["a"], conflate=0.5)
    assert narrow(["a", "b"], None, conflate=0.5).conflate == narrow(["a", "b"], "a", conflate=0.5).conflate == 0.5


@given(st.lists(patterns, max_size=12), st.lists(channels))
def test_audiences_agree_with_interests(some: list[str], known: list[str]) -> None:
    audiences: Audiences[str] = Audiences()
    places = [(interest_in([one, other]), Outbox(FakeTransport(), None, 1000)) for one, other in pairwise(some)]
    for place in places:
        audiences.add(*place, "")
    left, stayed = places[::2], places[1::2]
    for place in left:
        audiences.discard(*place)
    for channel in known:
        expected = {interest for interest, _ in stayed if interest.matches(channel.encode())}
        found = [audience.interest for audience in audiences.of(channel.encode())]
        assert (set(found), len(found)) == (expected, len(expected))
    for place in stayed:
        audiences.discard(*place)
    assert not list(audiences)
    assert audiences._index._root.empty
    assert not audiences._index._single
    assert not audiences._index._several


def test_no_requested_channels_mean_every_permitted_one() -> None:
    assert narrow(["orders.*", "stock"], None).patterns == ("orders.*", "stock")


@pytest.mark.parametrize("requested", ["", " ", ",", " , "])
def test_a_list_that_names_no_channel_is_not_every_channel(requested: str) -> None:
    with pytest.raises(Malformed, match="names no channel"):
        narrow(["orders.*", "stock"], requested)


def test_requested_channels_narrow() -> None:
    assert narrow(["orders.**"], "orders.eu, orders.*.north").patterns == ("orders.*.north", "orders.eu")


@pytest.mark.parametrize("requested", ["stock", "orders", "orders.**", "**", "orders.eu,stock"])
def test_a_channel_that_is_not_permitted_is_refused_and_named(requested: str) -> None:
    with pytest.raises(ChannelNotPermitted, match=re.escape(repr(requested.rpartition(",")[2]))):
        narrow(["orders.*"], requested)


@given(st.lists(patterns, max_size=5), patterns | channels)
def test_an_interest_covers_what_one_of_its_patterns_covers(some: list[str], other: str) -> None:
    assert Interest(some).covers(other) is any(covers(pattern, other) for pattern in some)


def test_a_thousand_channels_of_those_that_are_permitted_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """To try each of a thousand on each of a thousand took 1 s, in which the replica did nothing else."""
    monkeypatch.setattr(audience, "covers", lambda *_: pytest.fail("tried one by one"))
    names = [f"user.{number}.inbox" for number in range(1000)]
    assert len(narrow([*names, "orders.*"], ",".join(names)).patterns) == 1000


def test_no_permitted_pattern_permits_no_channel() -> None:
    assert not narrow([], None).matches(b"orders")
    with pytest.raises(ChannelNotPermitted):
        narrow([], "orders")


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(Malformed, match="1001"):
        narrow(["**"], ",".join(f"c{number}" for number in range(1001)))


def test_too_many_patterns_are_refused() -> None:
    assert len(narrow(["**"], ",".join(f"c{number}.*" for number in range(50)) + ",a,b").patterns) == 52
    with pytest.raises(Malformed, match="51"):
        narrow(["**"], ",".join(f"c{number}.*" for number in range(51)))


@given(st.text())
def test_any_request_is_accepted_or_refused(requested: str) -> None:
    with contextlib.suppress(Malformed):
        assert narrow(["a.**", "b"], requested).patterns


def test_equal_interests_are_one_object() -> None:
    assert interest_in(["b", "a"]) is interest_in(["a", "b", "a"])
    assert Interest(["b", "a"]) == Interest(["a", "b"])
    assert repr(interest_in(["b", "a"])) == "Interest(a, b)"


def test_an_unused_interest_is_dropped() -> None:
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

    def join(self, audiences: Audiences[str], name: str, *patterns: str) -> tuple[Interest, Outbox]:
        place = (interest_in(patterns), Outbox(FakeTransport(), None, 1000))
        audiences.add(*place, name)
        return place

    def test_members_are_found_by_channel(self, audiences: Audiences[str]) -> None:
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

    def test_joining_and_leaving_later_applies_to_known_channels(self, audiences: Audiences[str]) -> None:
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

    def test_one_of_two_members_leaves(self, audiences: Audiences[str]) -> None:
        first = self.join(audiences, "first", "a")
        self.join(audiences, "second", "a")
        audiences.discard(*first)
        assert self.names(audiences, "a") == ["second"]

    def test_a_member_is_held_until_it_leaves(self, audiences: Audiences[str]) -> None:
        interest, outbox = self.join(audiences, "a", "orders.*")
        other, another = self.join(audiences, "b", "stock")
        assert audiences.holds(interest, outbox)
        assert not audiences.holds(interest, another)
        assert not audiences.holds(interest_in(["prices"]), outbox)
        audiences.discard(other, another)
        assert not audiences.holds(other, another)

    def test_any_number_of_channels(self, audiences: Audiences[str]) -> None:
        self.join(audiences, "all", "**")
        for number in range(20_001):
            assert self.names(audiences, f"c{number}") == ["all"]


def test_an_interest_wants_what_passes_a_filter_of_a_pattern_or_matches_one_without() -> None:
    interest = interest_in(["a.*", "a.b", "c"], {"a.*": "n > 1", "a.b": "$event.id = '0'"})
    frames = [event_frame(b'{"id":"%d","data":{"n":%d}}' % (number, number), b"AaB") for number in range(3)]
    assert [interest.wants(b"a.b", frame) for frame in frames] == [True, False, True]
    assert [interest.wants(b"a.x", frame) for frame in frames] == [False, False, True]
    assert all(interest.wants(b"c", frame) for frame in frames)
    assert interest is interest_in(["a.*", "a.b", "c"], {"a.b": "$event.id = '0'", "a.*": "n > 1"})
    assert interest not in {interest_in(["a.*", "a.b", "c"]), interest_in(["a.*", "a.b", "c"], {"a.*": "n > 1"})}
