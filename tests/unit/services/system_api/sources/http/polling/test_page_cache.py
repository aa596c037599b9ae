"""Pages that have not changed."""

from yarl import URL

from services.system_api.sources.http.polling import page_cache
from services.system_api.sources.http.polling.page_cache import PageCache, PageFacts
from services.system_api.sources.http.polling.pager import Visited

A, B = URL("https://api.example/a"), URL("https://api.example/b")


def facts(count: int = 1, etag: str | None = None, last_modified: str | None = None) -> PageFacts:
    keys = [str(number) for number in range(count)]
    return PageFacts("d", etag, last_modified, Visited(A, (), keys, None, None), None, keys, [], complete=True)


def test_conditions_are_those_of_the_last_response() -> None:
    cache = PageCache()
    assert cache.conditions(A) == {}
    cache.keep(A, facts(etag='"x"', last_modified="Fri, 15 Jan 2027 08:00:00 GMT"))
    assert cache.conditions(A) == {
        "If-None-Match": '"x"',
        "If-Modified-Since": "Fri, 15 Jan 2027 08:00:00 GMT",
    }
    cache.keep(A, facts())
    assert cache.conditions(A) == {}
    assert cache.get(A) == facts()
    assert cache.get(B) is None


def test_pages_that_are_not_requested_any_more_are_forgotten() -> None:
    cache = PageCache()
    cache.keep(A, facts())
    cache.keep(B, facts())
    cache.retain({B})
    assert cache.get(A) is None
    assert cache.get(B) is not None


def test_there_is_a_limit(monkeypatch: object) -> None:
    cache = PageCache()
    limit = page_cache._LIMIT
    cache.keep(A, facts(limit))
    cache.keep(B, facts(1))
    assert cache.get(B) is None
    cache.keep(A, facts(1))
    cache.keep(B, facts(1))
    assert cache.get(B) is not None
    cache.drop(URL("https://api.example/c"))
