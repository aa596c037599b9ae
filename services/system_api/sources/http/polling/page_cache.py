"""Remembers the pages that were read, so that one that has not changed costs no reading. No I/O.

It is not saved: after a restart each page is read once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from yarl import URL

from services.system_api.sources.http.polling.pager import Request, Visited
from services.system_api.sources.http.polling.records import Record, Unreadable

_LIMIT = 200_000
"""Records of all pages that are remembered. Further pages are not."""


class PageFacts(NamedTuple):
    """What is known of a page beside its records."""

    digest: str
    """Of its body."""
    etag: str | None
    last_modified: str | None
    visited: Visited
    cursor: str | None
    ids: Sequence[str]
    """Of the records that can be read, and of others that have an id."""
    unreadable: Sequence[str]
    """The keys of the records that cannot be read."""
    complete: bool
    """Whether each record has an id."""


class FetchedPage(NamedTuple):
    """A page."""

    request: Request
    facts: PageFacts
    items: Sequence[Record | Unreadable]
    """Its records; none if the page has not changed since its records were taken."""


class PageCache:
    """The pages of one source, by URL."""

    def __init__(self) -> None:
        self._pages: dict[URL, PageFacts] = {}
        self._records = 0

    def get(self, url: URL) -> PageFacts | None:
        """Return what is known of a page."""
        return self._pages.get(url)

    def conditions(self, url: URL) -> Mapping[str, str]:
        """Return the headers with which a page is requested only if it has changed (RFC 9110, section 13.1)."""
        page = self._pages.get(url)
        if page is None:
            return {}
        found = {"If-None-Match": page.etag, "If-Modified-Since": page.last_modified}
        return {name: value for name, value in found.items() if value is not None}

    def keep(self, url: URL, page: PageFacts) -> None:
        """Remember a page in place of what it had before."""
        self.drop(url)
        if self._records + len(page.visited.keys) <= _LIMIT:
            self._pages[url] = page
            self._records += len(page.visited.keys)

    def retain(self, urls: set[URL]) -> None:
        """Forget all pages but these: a cursor, or a time in the URL, is not used again."""
        for url in self._pages.keys() - urls:
            self.drop(url)

    def drop(self, url: URL) -> None:
        """Forget a page; nothing happens if it is not known."""
        before = self._pages.pop(url, None)
        if before is not None:
            self._records -= len(before.visited.keys)
