import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.patterns import PatternIndex, check_pattern, covers
from shared.errors import Malformed

words = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3)
patterns = st.tuples(words, st.sampled_from([[], ["**"]])).map(lambda parts: ".".join(parts[0] + parts[1])) | st.just(
    "**"
)
channels = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "**.a", "a.**.b", "a*", "***", "é", "a\n", "x" * 201]
)
def test_an_invalid_pattern_is_refused_and_named(text: str) -> None:
    with pytest.raises(Malformed, match=re.escape(repr(text[:80]))):
        check_pattern(text)


@given(patterns, channels)
def test_a_pattern_covers_what_it_matches(pattern: str, channel: str) -> None:
    assert covers(pattern, channel) == Interest([pattern]).matches(channel.encode())


@given(patterns, patterns, st.lists(channels, max_size=30))
def test_a_covering_pattern_matches_what_the_covered_one_matches(wide: str, narrow_one: str, some: list[str]) -> None:
    if covers(wide, narrow_one):
        assert {channel for channel in some if Interest([narrow_one]).matches(channel.encode())} <= {
            channel for channel in some if Interest([wide]).matches(channel.encode())
        }


@given(patterns)
def test_a_pattern_covers_itself_and_the_widest_covers_every_pattern(pattern: str) -> None:
    assert covers(pattern, pattern)
    assert covers("**", pattern)


class TestIndex:
    @given(st.lists(patterns, unique=True), st.lists(channels))
    def test_it_finds_the_patterns_that_match_each_once(self, some: list[str], known: list[str]) -> None:
        index: PatternIndex[str] = PatternIndex()
        for pattern in some:
            index.add(pattern, pattern)
        for channel in known:
            assert sorted(index.find(channel.encode())) == sorted(p for p in some if covers(p, channel))

    @given(st.lists(patterns, unique=True), st.randoms(use_true_random=False))
    def test_nothing_is_left_once_all_are_removed(self, some: list[str], rng: random.Random) -> None:
        index: PatternIndex[int] = PatternIndex()
        entries = [(pattern, value) for pattern in some for value in (1, 2)]
        for entry in entries:
            index.add(*entry)
        rng.shuffle(entries)
        for entry in entries:
            index.discard(*entry)
        assert index._root.empty
        assert not index._single
        assert not index._several

    def test_one_value_of_several_patterns_is_found_once(self) -> None:
        index: PatternIndex[str] = PatternIndex()
        for pattern in ("a.b", "a.*", "*.b", "a.**", "**"):
            index.add(pattern, "all")
        assert list(index.find(b"a.b")) == ["all"]
        for pattern in ("a.b", "a.*", "*.b", "a.**"):
            index.discard(pattern, "all")
        assert list(index.find(b"a.b")) == ["all"]

    def test_the_steps_do_not_depend_on_how_many_there_are(self) -> None:
        """Counted, not timed: each look-up of a word is a step."""
        steps = []
        for count in (1, 10_000):
            index: PatternIndex[int] = PatternIndex()
            for number in range(count):
                index.add(f"users.{number}", number)
                index.add(f"users.{number}.*", number)
            counting = CountingWords(index._root.words)
            index._root.words = counting
            assert list(index.find(b"users.0.a")) == [0]
            assert list(index.find(b"users.0")) == [0]
            steps.append(counting.steps)
        assert steps[0] == steps[1]


class CountingWords(dict[bytes, Any]):
    steps = 0

    def get(self, key: bytes, default: Any = None) -> Any:
        self.steps += 1
        return super().get(key, default)
