"""Which page is next, for each kind of pagination, and when records have moved between pages."""

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import TypeAdapter
from yarl import URL

from services.system_api.sources.http.polling.options import PaginationOptions
from services.system_api.sources.http.polling.pager import Pager, PagesMoved, Request, Visited
from shared.errors import Malformed

HOST = "https://api.example"
_options: TypeAdapter[Any] = TypeAdapter(PaginationOptions)


def pager(options: Any = None, max_pages: int = 100, url: str = f"{HOST}/orders?size=2") -> Pager:
    return Pager(None if options is None else _options.validate_python(options), max_pages, URL(url))


def page(
    keys: Sequence[str],
    *,
    links: Sequence[str] = (),
    following: str | None = None,
    more: bool | None = None,
) -> Visited:
    return Visited(URL(f"{HOST}/orders"), links, keys, following, more)


def walk(pages: Pager, *visited: Visited) -> list[str]:
    """Return what is requested when these pages come, in this order; `*` marks a page that is read again."""
    request: Request | None = pages.first
    found = []
    for each in visited:
        assert request is not None, "there is no further request"
        found.append(f"{request.url.path_qs}{'*' if request.reread else ''}")
        request = pages.after(request, each)
    assert request is None, f"{request} is not asked for"
    return found


def test_without_pagination_there_is_one_page() -> None:
    assert walk(pager(), page("ab")) == ["/orders?size=2"]


def test_numbered_pages_until_one_is_empty() -> None:
    requests = walk(pager({"kind": "page", "reread": False}), page("ab"), page("cd"), page("e"), page(""))
    assert requests == [f"/orders?size=2&page={number}" for number in (1, 2, 3, 4)]


def test_each_page_is_read_again_after_the_next_one() -> None:
    options = {"kind": "page", "parameter": "p", "first": 0}
    requests = walk(pager(options), page("ab"), page("cd"), page("ab"), page("e"), page("cd"), page(""), page("e"))
    assert [request.rpartition("=")[2] for request in requests] == ["0", "1", "0*", "2", "1*", "3", "2*"]


def test_the_body_can_say_which_page_is_the_last() -> None:
    options = {"kind": "page", "more": "x", "reread": False}
    assert len(walk(pager(options), page("ab", more=True), page("cd", more=False))) == 2
    assert len(walk(pager(options), page("", more=True), page("cd", more=False))) == 2


def test_offsets_overlap_until_a_page_has_nothing_new() -> None:
    requests = walk(pager({"kind": "offset", "overlap": 1}), page("abc"), page("cde"), page("ef"), page("f"))
    assert [request.rpartition("=")[2] for request in requests] == ["0", "2", "4", "5"]


def test_offsets_count_the_records_that_came_whatever_the_size_of_a_page() -> None:
    requests = walk(pager({"kind": "offset", "overlap": 0}), page("abc"), page("de"), page(""))
    assert [request.rpartition("=")[2] for request in requests] == ["0", "3", "5"]


def test_a_page_that_is_smaller_than_the_overlap_ends_the_list() -> None:
    requests = walk(pager({"kind": "offset"}), page("abc"), page("bc"))
    assert [request.rpartition("=")[2] for request in requests] == ["0", "1"]
    assert len(walk(pager({"kind": "offset"}), page("a"), page(""))) == 2


def test_an_offset_that_has_more_on_an_empty_page_is_an_error() -> None:
    with pytest.raises(Malformed, match=r"page 1 has no records, and `pagination\.more` says that others follow"):
        walk(pager({"kind": "offset", "more": "x"}), page("", more=True))


@pytest.mark.parametrize("second", ["de", ""])
def test_pages_that_do_not_overlap_have_moved(second: str) -> None:
    with pytest.raises(PagesMoved, match="faster than the pages can be read"):
        walk(pager({"kind": "offset", "overlap": 1}), page("abc"), page(second))


def test_a_page_after_the_only_record_is_a_change() -> None:
    with pytest.raises(PagesMoved):
        walk(pager({"kind": "offset", "overlap": 1}), page("a"), page("c"))


def test_a_page_that_has_nothing_of_what_it_had_has_moved() -> None:
    with pytest.raises(PagesMoved, match="faster than the pages can be read"):
        walk(pager({"kind": "page"}), page("ab"), page("cd"), page("ef"))


def test_two_pages_are_read_again_while_the_first_one_changes() -> None:
    """A deletion moves a record to the first one, and an insert moves it back, after the second one was read."""
    paged = pager({"kind": "page"})
    requests = walk(paged, page("ab"), page("cd"), page("bc"), page("de"), page("bc"), page(""), page("de"))
    assert [request.rstrip("*")[-1] for request in requests] == list("1212132")
    changing = [page("bv"), page("d"), page("bw"), page("d"), page("bx"), page("d"), page("by")]
    requests = walk(pager({"kind": "page"}), page("ab"), page("cd"), *changing, page(""), page("d"))
    assert [request.rstrip("*")[-1] for request in requests] == list("12" + "12" * 3 + "1" + "32"), (
        "three times at most"
    )


@pytest.mark.parametrize("options", [{"kind": "page"}, {"kind": "offset", "overlap": 1}])
def test_the_same_page_twice_may_be_a_parameter_that_the_api_does_not_know(options: Any) -> None:
    with pytest.raises(PagesMoved, match="Does the API know the parameter of `pagination`"):
        walk(pager(options), page("ab"), page("ab"))


def test_links_lead_to_the_next_page() -> None:
    options = {"kind": "link", "reread": False}
    links = ['<https://api.example/orders?page=2#x>; rel="next"'], ["<?page=3>; rel=next"], ["<?page=1>; rel=first"]
    requests = walk(pager(options), *(page(str(number), links=each) for number, each in enumerate(links)))
    assert requests == ["/orders?size=2", "/orders?page=2", "/orders?page=3"]


def test_the_body_can_name_the_next_url() -> None:
    options = {"kind": "next", "url": "next"}
    requests = walk(
        pager(options), page("a", following="/b?x=1"), page("b", following="https://other.example/c"), page("c")
    )
    assert requests == ["/orders?size=2", "/b?x=1", "/c"]


def test_the_body_can_name_a_cursor() -> None:
    options = {"kind": "cursor", "cursor": "next", "parameter": "after"}
    requests = walk(pager(options), page("a", following="x/y="), page("", following="z"), page("c"))
    assert requests == ["/orders?size=2", "/orders?size=2&after=x/y%3D", "/orders?size=2&after=z"]


@pytest.mark.parametrize(
    ("options", "visited"),
    [
        ({"kind": "cursor", "cursor": "n"}, [page("a", following="x"), page("b", following="x")]),
        ({"kind": "next", "url": "n"}, [page("a", following=f"{HOST}/orders?size=2")]),
        ({"kind": "link", "reread": False}, [page("a", links=[f"<{HOST}/orders?size=2>; rel=next"])]),
    ],
)
def test_a_page_that_names_itself_is_an_error(options: Any, visited: list[Visited]) -> None:
    with pytest.raises(Malformed, match="names itself as the next page"):
        walk(pager(options), *visited)


@pytest.mark.parametrize(
    ("options", "visited"),
    [
        (
            {"kind": "cursor", "cursor": "n"},
            [page("a", following="x"), page("b", following="y"), page("c", following="x")],
        ),
        (
            {"kind": "next", "url": "n"},
            [page("a", following="/p2"), page("b", following="/p3"), page("c", following=f"{HOST}/p2#here")],
        ),
        (
            {"kind": "link", "reread": False},
            [
                page("a", links=["</p2>; rel=next"]),
                page("b", links=["</p3>; rel=next"]),
                page("c", links=["</p2>; rel=next"]),
            ],
        ),
    ],
)
def test_pages_in_a_circle_are_an_error(options: Any, visited: list[Visited]) -> None:
    with pytest.raises(Malformed, match="page 3 names page 2, which was read, as the next page"):
        walk(pager(options), *visited)


def test_a_circle_is_noticed_behind_pages_that_are_read_again() -> None:
    first, second = page("a", links=["</p2>; rel=next"]), page("b", links=["</orders?size=2>; rel=next"])
    with pytest.raises(Malformed, match="page 2 names page 1, which was read, as the next page"):
        walk(pager({"kind": "link"}), first, second, first)


def test_there_is_a_limit_of_pages() -> None:
    with pytest.raises(Malformed, match=r"more than 2 pages \(max_pages\)"):
        walk(pager({"kind": "page", "reread": False}, max_pages=2), page("a"), page("b"))


def test_a_next_page_that_is_no_url_is_an_error() -> None:
    with pytest.raises(Malformed, match=r"the next page is at 'http://\[::1', which is not a URL"):
        walk(pager({"kind": "next", "url": "n"}), page("a", following="http://[::1"))
