"""Pages that have not changed."""

import pytest
from yarl import URL

from services.system_api.sources.http.polling import page_cache
from services.system_api.sources.http.polling.page_cache import PageCache, PageFacts, Validators
from services.system_api.sources.http.polling.pager import Visited

A, B = URL("https://api.example/a"), URL("https://api.example/b")


def facts(count: int = 1, etag: str | None = None, last_modified: str | None = None) -> PageFacts:
    keys = [str(number) for number in range(count)]
    return PageFacts(
        "d", Validators(etag, last_modified), Visited(A, (), keys, None, None), None, keys, [], complete=True
    )


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


@pytest.mark.parametrize(
    ("sent", "valid"),
    [
        ("Fri, 15 Jan 2027 08:00:01 GMT", True),
        ("Fri, 15 Jan 2027 08:00:00 GMT", False),
        ("Fri, 15 Jan 2027 07:00:00 GMT", False),
        ("", False),
    ],
)
def test_a_page_that_was_modified_in_the_second_of_its_response_may_change_unseen(sent: str, valid: bool) -> None:
    modified = "Fri, 15 Jan 2027 08:00:00 GMT"
    found = Validators.of({"etag": '"6593bc80-2f"', "last-modified": modified, "date": sent})
    assert found == (Validators('"6593bc80-2f"', modified) if valid else Validators())


@pytest.mark.parametrize("headers", [{}, {"etag": '"x"'}, {"etag": '"x"', "last-modified": "yesterday"}])
def test_an_etag_alone_is_taken_at_its_word(headers: dict[str, str]) -> None:
    assert Validators.of(headers) == Validators(headers.get("etag"), headers.get("last-modified"))


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
