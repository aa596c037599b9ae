"""Remembers the pages that were read, so that one that has not changed costs no reading. No I/O.

It is not saved: after a restart each page is read once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from yarl import URL

from services.system_api.sources.http.polling.pager import Request, Visited
from services.system_api.sources.http.polling.records import Record, Unreadable
from shared.http.client.retry_after import http_date

_LIMIT = 200_000
"""Records of all pages that are remembered. Further pages are not."""


class Validators(NamedTuple):
    """What a response has to tell, with the next request, whether its page has changed since."""

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Validators":
        """Return those of a response, whose headers are named in lower case; none that do not tell.

        A page that was modified in the second of its response may be modified once more in it, and then keeps this
        time, and an ETag that is made of the time, as that of nginx. Source: RFC 9110, section 8.8.2.2.
        """
        found = cls(headers.get("etag"), headers.get("last-modified"))
        modified = http_date(found.last_modified or "")
        if modified is None:
            return found
        sent = http_date(headers.get("date", ""))
        return found if sent is not None and sent > modified else cls()


class PageFacts(NamedTuple):
    """What is known of a page beside its records."""

    digest: str
    """Of its body."""
    validators: Validators
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
    sent: float | None = None
    """When the API has sent it, by its own clock, in seconds since 1970; None: it does not say."""


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
        found = {"If-None-Match": page.validators.etag, "If-Modified-Since": page.validators.last_modified}
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
