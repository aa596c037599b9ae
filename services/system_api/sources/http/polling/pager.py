"""Finds the next page, and notices when records move between pages while they are read.

Pages by number or offset are windows on a list that changes meanwhile. When a record before the window is deleted, or
moves to the end because it was updated, those after it move forward, and the first one of the next page is on the page
before by then. Two rules find it, where the order of the list is otherwise stable:

- Pages by offset overlap. If no record of a page is on the next one, more have moved than overlap: `PagesMoved`.
- A page is read again after the next one (`reread`). If it has no record in common with what it had, more than a page
  has moved: `PagesMoved`.

After `PagesMoved` all pages are read again. No I/O.
"""

from collections.abc import Sequence
from typing import NamedTuple, assert_never

from yarl import URL

from services.system_api.sources.http.polling.link_header import next_target
from services.system_api.sources.http.polling.options import (
    CursorOptions,
    LinkOptions,
    NextUrlOptions,
    OffsetOptions,
    PageOptions,
    PaginationOptions,
)
from shared.errors import Malformed


class PagesMoved(Exception):
    """Records may have been missed: read all pages again. The text is the reason, if that does not help."""


_REPEATS = 3
"""How often two pages are read again because the first of them has changed."""
_MOVING = "records move between the pages faster than the pages can be read: ask for larger pages"


class Visited(NamedTuple):
    """What the pager needs to know of a page that was read."""

    url: URL
    """Where it came from, after redirects."""
    links: Sequence[str]
    """The values of the header `Link`."""
    keys: Sequence[str]
    """One key for each of its records; a record that is updated, and may move, has another one."""
    next: str | None
    """The cursor or URL that the body names."""
    more: bool | None
    """Whether the body says that another page follows; None where the settings do not ask it."""


class Request(NamedTuple):
    """A page to read."""

    url: URL
    number: int
    """Counted from 1."""
    reread: bool = False
    """Whether it is read for the second time."""


class Pager:
    """The pages of one poll."""

    def __init__(self, options: PaginationOptions | None, max_pages: int, url: URL) -> None:
        """`url` is that of the first page, without the parameters of the pagination."""
        self._options = options
        self._max_pages = max_pages
        self._skipped = 0
        """By offset: the records before the page that is read."""
        self._overlaps = False
        """By offset: whether that page begins with records of the page before."""
        self._reread = isinstance(options, PageOptions | LinkOptions | NextUrlOptions) and options.reread
        self._last: tuple[Request, Visited] | None = None
        """The page that was read last, but for those that are read again."""
        self._original: Visited | None = None
        """What the page that is read again had before."""
        self._after: Request | None = None
        """What follows it."""
        self._first_of_two = Request(url, 1, reread=True)
        """The request that reads it again."""
        self._repeats = 0
        """How often it and the page behind it were read again because it had changed."""
        self._numbers: dict[URL, int] = {}
        """The numbers of the pages that were read."""
        if isinstance(options, PageOptions):
            url = url.update_query({options.parameter: str(options.first)})
        elif isinstance(options, OffsetOptions):
            url = url.update_query({options.parameter: "0"})
        self.first = Request(url, 1)

    def after(self, request: Request, page: Visited) -> Request | None:
        """Return the page to read after this one, None after the last.

        Raises:
            PagesMoved: records may be missing.
            Malformed: the pages do not advance, or there are too many.
        """
        if request.reread:
            return self._after_reread(request, page)
        before, self._last = self._last, (request, page)
        self._numbers[request.url] = request.number
        if before is not None:
            self._check(request, page, before[1])
        following = self._following(request, page, () if before is None else before[1].keys)
        if following is not None and following.number > self._max_pages:
            raise Malformed(f"more than {self._max_pages} pages (max_pages)")
        if before is None or not self._reread:
            return following
        self._original, self._after, self._repeats = before[1], following, 0
        self._first_of_two = before[0]._replace(reread=True)
        return self._first_of_two

    def _after_reread(self, request: Request, page: Visited) -> Request | None:
        """Read both pages again where the first has changed: records may have moved back and forth between them."""
        assert self._last is not None, "another page was read"
        assert self._original is not None, "it was read before"
        if request.number == self._last[0].number:
            self._after = self._following(self._last[0], page, self._original.keys)
            self._last = self._last[0], page
            return self._first_of_two
        if self._original.keys and not _common(self._original, page):
            raise PagesMoved(_MOVING)
        moved = set(self._original.keys) != set(page.keys)
        if moved and self._repeats < _REPEATS:
            self._original, self._repeats = page, self._repeats + 1
            return self._last[0]._replace(reread=True)
        return self._after

    def _check(self, request: Request, page: Visited, before: Visited) -> None:
        if page.keys and list(page.keys) == list(before.keys):
            raise PagesMoved(
                f"page {request.number} has the same records as the page before; expected others. Does the API know the"
                " parameter of `pagination`?"
            )
        if isinstance(self._options, OffsetOptions) and self._options.overlap:
            # A page of one record cannot overlap the next one: that there is a next one is a change of the list.
            ends = not page.keys and not self._overlaps
            if not ends and not _common(before, page):
                raise PagesMoved(_MOVING)

    def _following(self, request: Request, page: Visited, keys_before: Sequence[str]) -> Request | None:
        options = self._options
        match options:
            case None:
                return None
            case PageOptions():
                more = bool(page.keys) if page.more is None else page.more
                number = str(options.first + request.number)
                url = request.url.update_query({options.parameter: number}) if more else None
            case OffsetOptions():
                more = bool(set(page.keys) - set(keys_before)) if page.more is None else page.more
                url = self._by_offset(options, request, page) if more else None
            case LinkOptions():
                url = _joined(page, next_target(page.links))
            case NextUrlOptions():
                url = _joined(page, page.next)
            case CursorOptions():
                url = None if page.next is None else request.url.update_query({options.parameter: page.next})
            case _:
                assert_never(options)
        if url is None:
            return None
        if (known := self._numbers.get(url)) is not None:
            # Links or cursors in a circle: all pages up to `max_pages` would be the same ones, again and again.
            named = "itself" if known == request.number else f"page {known}, which was read,"
            raise Malformed(f"page {request.number} names {named} as the next page")
        return Request(url, request.number + 1)

    def _by_offset(self, options: OffsetOptions, request: Request, page: Visited) -> URL:
        count = len(page.keys)
        if not count:
            raise Malformed(f"page {request.number} has no records, and `pagination.more` says that others follow")
        overlap = min(options.overlap, count - 1)
        self._overlaps = overlap > 0
        self._skipped += count - overlap
        return request.url.update_query({options.parameter: str(self._skipped)})


def _common(one: Visited, other: Visited) -> bool:
    return not set(one.keys).isdisjoint(other.keys)


def _joined(page: Visited, target: str | None) -> URL | None:
    """Return the absolute URL of a reference on a page.

    Raises:
        Malformed: it is not a URL.
    """
    if not target:
        return None
    try:
        return page.url.join(URL(target)).with_fragment(None)
    except ValueError as exc:
        raise Malformed(f"the next page is at {target[:100]!r}, which is not a URL") from exc
