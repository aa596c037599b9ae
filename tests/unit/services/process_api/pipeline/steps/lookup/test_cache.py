"""The cache of look-ups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.steps.lookup.cache import Cache, CacheOptions


def test_values_are_fresh_for_a_while() -> None:
    cache = Cache(CacheOptions(ttl=60, negative_ttl=10))
    cache.put("a", b"1", 100)
    cache.put("b", None, 100)
    assert (cache.fresh("a", 109), cache.fresh("b", 109)) == ((b"1",), (None,))
    assert (cache.fresh("a", 159), cache.fresh("b", 110)) == ((b"1",), None)
    assert (cache.fresh("a", 160), cache.fresh("c", 100)) == (None, None)


@pytest.mark.parametrize(("stale", "expected"), [(True, (b"1",)), (False, None)])
def test_an_old_value_is_used_where_the_settings_want_it(*, stale: bool, expected: object) -> None:
    cache = Cache(CacheOptions(ttl=0, stale_while_unavailable=stale))
    cache.put("a", b"1", 100)
    assert cache.fresh("a", 100) is None
    assert cache.stale("a") == expected
    assert cache.stale("b") is None
    assert len(cache) == int(stale)


def test_the_least_recently_used_leave_first() -> None:
    cache = Cache(CacheOptions(size=2))
    for name in "ab":
        cache.put(name, b"1", 0)
    cache.fresh("a", 1)
    cache.put("c", b"1", 1)
    assert [cache.fresh(name, 1) is not None for name in "abc"] == [True, False, True]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.binary(max_size=400))))
def test_it_never_holds_more_than_its_limits(puts: list[tuple[str, bytes | None]]) -> None:
    cache = Cache(CacheOptions(size=4, bytes=1000))
    for name, value in puts:
        cache.put(name, value, 0)
        assert len(cache) <= 4
        held = {key: cache.fresh(key, 0) for key in "abcdef"}
        assert sum(200 + 1 + len(entry[0] or b"") for entry in held.values() if entry) <= 1000


def test_a_value_that_is_too_large_displaces_no_other() -> None:
    cache = Cache(CacheOptions(bytes=1000))
    cache.put("a", b"1", 0)
    cache.put("b", b"old", 0)
    cache.put("b", b"x" * 1000, 0)
    assert cache.fresh("a", 1) == (b"1",)
    assert cache.fresh("b", 1) is None, "nor is the value before used any more"
