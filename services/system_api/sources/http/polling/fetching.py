"""Requests a page and reads it, or finds that it has not changed since it was read.

Where the next page is in the header `Link`, an unchanged body says nothing about it: a full last page stays as it is
when another one follows. An ETag need not change with a header, and a 304 need not have the header (RFC 9110, sections
8.8.1 and 15.4.5). So the links are always those of the newest response, and the last page is requested without a
condition while it has as many records as a page that others follow. Where it has fewer, or is the only one, a new
record changes its body, unless it is full all the same: it is requested with a condition, and without one from time to
time.
"""

from collections.abc import Mapping
from http import HTTPStatus

from yarl import URL

from services.system_api.sources.http.polling.link_header import next_target
from services.system_api.sources.http.polling.page_cache import FetchedPage, PageCache, PageFacts, Validators
from services.system_api.sources.http.polling.pager import Request, Visited
from services.system_api.sources.http.polling.reading import PageReader
from services.system_api.sources.http.polling.records import Page, Record, digest
from shared.errors import Malformed
from shared.http.client.client import HttpClient, Response
from shared.http.client.failures import UnusableResponse, head
from shared.http.client.retry_after import http_date
from shared.runtime.clock import Clock

_NO_RECORDS = Page([], [], None, None, None)
_WHOLE_INTERVAL = 60.0
"""Seconds after which the last page is requested without a condition."""


class PageFetcher:
    """Fetches the pages of one source."""

    def __init__(
        self, client: HttpClient, reader: PageReader, cache: PageCache, clock: Clock, *, by_links: bool
    ) -> None:
        """`cache` knows the pages whose records are all taken; `by_links`: the header `Link` names the next page."""
        self._client = client
        self._clock = clock
        self._full: int | None = None
        """Records of the smallest page that another one followed, as it was read last; None: there was none."""
        self._whole: tuple[URL, float] | None = None
        """The last page, and until when a condition will do, by the monotonic clock."""
        self._reader = reader
        self._cache = cache
        self._by_links = by_links

    async def fetch(self, request: Request) -> FetchedPage:
        """Return a page.

        Raises:
            Unavailable, SettingsError: as `HttpClient.get`.
            UnusableResponse: as well if the page is on another host, or is not what the settings say.
        """
        url, name = request.url, self._client.name(request.url)
        if not self._client.trusted(url):
            raise UnusableResponse(f"{name}: the page is on another host than `url`, and gets no credentials there")
        response = await self._client.get(url, self._conditions(url))
        known = self._cache.get(url)
        fingerprint = digest(response.body)
        sent = http_date(response.headers.get("date", ""))
        if known is not None and (response.unchanged or fingerprint == known.digest):
            found = FetchedPage(request, _renewed(known, response), (), sent)
        else:
            page = await self._read(response, name)
            found = FetchedPage(request, facts(response, fingerprint, page), [*page.records, *page.unreadable], sent)
        if self._by_links:
            self._note(found, whole=not response.unchanged)
        return found

    def _conditions(self, url: URL) -> Mapping[str, str]:
        page = self._cache.get(url)
        if self._by_links and page is not None and page.visited.keys and next_target(page.visited.links) is None:
            full = self._full is not None and len(page.visited.keys) >= self._full
            if full or self._whole is None or self._whole[0] != url or self._whole[1] <= self._clock.monotonic():
                return {}
        return self._cache.conditions(url)

    def _note(self, page: FetchedPage, *, whole: bool) -> None:
        visited, first = page.facts.visited, page.request.number == 1
        try:
            last = next_target(visited.links) is None
        except Malformed:
            return  # the pager says so
        if not last:
            count = len(visited.keys)
            self._full = count if first or self._full is None else min(self._full, count)
        else:
            if first:
                self._full = None
            if whole:
                self._whole = page.request.url, self._clock.monotonic() + _WHOLE_INTERVAL

    async def _read(self, response: Response, name: str) -> Page:
        if response.status == HTTPStatus.NO_CONTENT:
            return _NO_RECORDS
        try:
            return await self._reader.read(response.body, response.headers.get("content-type", ""))
        except Malformed as exc:
            raise UnusableResponse(f"{name}: {exc}; the body begins with {head(response.body)}") from exc


def _renewed(known: PageFacts, response: Response) -> PageFacts:
    """Return what is known of a page whose records have not changed; its headers may have."""
    if response.unchanged and not response.links:
        return known
    return known._replace(
        # A 304 leaves out what has not changed.
        validators=known.validators if response.unchanged else Validators.of(response.headers),
        visited=known.visited._replace(url=response.url, links=response.links),
    )


def facts(response: Response, fingerprint: str, page: Page) -> PageFacts:
    """Return what is known of a page beside its records; `fingerprint` is the digest of its body."""
    unreadable = [each.key for each in page.unreadable]
    identified = [each.id for each in page.unreadable if each.id is not None]
    ids = [record.id for record in page.records]
    return PageFacts(
        digest=fingerprint,
        validators=Validators.of(response.headers),
        visited=Visited(response.url, response.links, [*map(_place, page.records), *unreadable], page.next, page.more),
        cursor=page.cursor,
        ids=[*ids, *identified],
        unreadable=unreadable,
        complete=len(identified) == len(unreadable),
    )


def _place(record: Record) -> str:
    """Return what identifies a record at its place in the list: one that is updated may have moved."""
    return f"{record.id}@{record.version}"
