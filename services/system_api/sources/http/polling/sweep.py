"""One reading of the whole list after another: which page is next, and which of its records are published. No I/O."""

from collections import deque
from datetime import datetime
from typing import Literal

from yarl import URL

from services.system_api.sources.http.polling.changes.protocol import Changes
from services.system_api.sources.http.polling.events import RecordEvents
from services.system_api.sources.http.polling.expiry import is_expired
from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.http.polling.page_cache import FetchedPage, PageCache
from services.system_api.sources.http.polling.pager import Pager, PagesMoved, Request
from services.system_api.sources.http.polling.records import Record, Unreadable, digest
from services.system_api.sources.http.polling.rejected import RejectedRecords
from services.system_api.sources.source import Batch
from shared.errors import Malformed

_RESTARTS = 3
"""How often the pages are read again from the first one because records have moved, until that is a problem."""
_MAX_BYTES = 16 * 1_048_576
"""Approximate maximum size of the events of one batch."""


class Sweep:
    """The list of one source, page by page."""

    def __init__(
        self,
        options: HttpSourceOptions,
        changes: Changes,
        rejected: RejectedRecords,
        events: RecordEvents,
        cache: PageCache,
    ) -> None:
        self._options = options
        self._changes = changes
        self._rejected = rejected
        self._events = events
        self._cache = cache
        self._page: FetchedPage | None = None
        """The page that is being published."""
        self._name = ""
        """What errors call it."""
        self._items: deque[Record | Unreadable] = deque()
        """What is left of it."""
        self._refused: list[str] = []
        """The keys of its records that were rejected because of those that were published."""
        self._restarts = 0
        self.moving: str | None = None
        """Why all pages were read again so often, and then left to the next poll; None otherwise."""
        self._deleting = False
        """Whether deletions may be left to publish."""
        self._between = True
        """Whether the next page is the first one of another reading."""
        self._complete = True
        """Whether each record of this reading has an id."""
        self._whole = False
        """Whether the last reading is finished, and was complete."""
        self._listed_before: frozenset[str] = frozenset()
        """The ids of the page before."""
        self._begin()

    @property
    def request(self) -> Request | None:
        """The page to read next; None while there is something to publish without it."""
        return self._request if self._page is None and not self._deleting else None

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the list."""
        return tuple(filter(None, (self.moving, self._changes.problem, self._rejected.problem)))

    def checkpoint(self) -> dict[str, bytes]:
        """Return the whole checkpoint of what was published so far."""
        return self._changes.checkpoint() | self._rejected.checkpoint()

    def checkpoint_at(self, place: Literal["beginning"] | datetime) -> dict[str, bytes]:
        """Return the checkpoint of a place. Raises `Malformed` where there is no such place."""
        return self._changes.checkpoint_at(place)

    def begin_snapshot(self) -> dict[str, bytes | None]:
        """Let the next reading publish everything that is listed; return the parts of the checkpoint that begin it.

        Raises:
            Malformed: the API does not list everything that is there.
        """
        self._changes.begin_snapshot()
        self._page = None
        self._items.clear()
        self._cache.retain(set())
        self._begin()
        return self._changes.saved() | self._rejected.saved()

    def expired(self, request: Request, status: int | None, body: bytes) -> str | None:
        """Return the cursor of a request that was refused, if the API knows it no longer."""
        cursor = self._changes.cursor
        return cursor if cursor and request == self._pager.first and is_expired(status, body, cursor) else None

    def begin_again(self) -> dict[str, bytes | None] | None:
        """Begin as a source that is started first, with what it knows; return the parts of the checkpoint that say so.

        None where the settings do not want that.
        """
        if not self._changes.begin_again():
            return None
        self._cache.retain(set())
        self._begin()
        return self._changes.saved() | self._rejected.saved()

    def load(self, page: FetchedPage, name: str) -> None:
        """Take the page that was requested, unless it is to be requested again; errors call it `name`."""
        if self._changes.note_time(page.sent):
            self._between = False
            self._begin()
            return
        self._page, self._name, self._items = page, name, deque(page.items)
        self._between = self._whole = False
        self._refused.clear()
        self._complete = self._complete and page.facts.complete
        if not page.request.reread:
            listed = self._listed_before
            self._changes.begin_page(
                [each for each in page.items if isinstance(each, Record) and each.id not in listed]
            )
            self._listed_before = frozenset(page.facts.ids)
        if not page.items:
            self._changes.listed(page.facts.ids)
            for key in page.facts.unreadable:
                self._rejected.take(key)

    def batch(self, limit: int) -> Batch:
        """Return what comes next, at most `limit` events and rejects.

        Raises:
            Malformed: the pages do not advance.
            TrelayError: the settings do not fit the API.
        """
        batch = Batch()
        self._events.begin_batch()
        self._publish_records(limit, batch)
        if self._page is not None and not self._items:
            self._end_page(self._page)
        if self._deleting:
            self._publish_deletions(limit - len(batch.records) - len(batch.rejects), batch)
        batch.checkpoint = self._changes.saved() | self._rejected.saved()
        batch.more = self._page is not None or self._deleting or not self._between or self._changes.more
        batch.whole = self._whole
        batch.problems = self.problems
        return batch

    def _begin(self) -> None:
        """Begin at the first page."""
        url, query = self._first_url(), self._changes.query()
        self._pager = Pager(
            self._options.pagination, self._options.max_pages, url.update_query(query) if query else url
        )
        self._request = self._pager.first
        self._read: set[URL] = set()
        self._complete = True
        self._listed_before = frozenset()

    def _first_url(self) -> URL:
        url, cursor = URL(self._options.url), self._changes.url
        try:
            return url if cursor is None else url.join(URL(cursor))
        except ValueError as exc:
            raise Malformed(f"changes.cursor: found {cursor!r}; expected a URL, or set changes.parameter") from exc

    def _publish_records(self, limit: int, batch: Batch) -> None:
        size, batch.rows = 0, 0
        while self._items and len(batch.records) + len(batch.rejects) < limit and size < _MAX_BYTES:
            item = self._items.popleft()
            batch.rows += 1
            if isinstance(item, Record):
                try:
                    position = self._changes.take(item)
                except Malformed as exc:
                    item = Unreadable(digest(item.data), item.id, item.data, None, str(exc))
                    self._refused.append(item.key)
                else:
                    if position is None:
                        batch.skipped += 1
                    else:
                        batch.records.append(self._events.event(item, position))
                        size += len(item.data)
                    continue
            size += self._reject(item, batch)

    def _reject(self, item: Unreadable, batch: Batch) -> int:
        """Add a record to the rejects unless it is among them already; return its size in bytes."""
        if item.id is not None:
            self._changes.listed([item.id])
        if not self._rejected.take(item.key):
            batch.skipped += 1
            return 0
        batch.rejects.append(self._events.reject(item, self._name))
        return len(item.value)

    def _end_page(self, page: FetchedPage) -> None:
        self._page = None
        unreadable = [*page.facts.unreadable, *self._refused]
        if self._options.changes.kind == "cursor":
            self._cache.retain(set())  # behind a cursor, no page but the last one is requested again
        self._cache.keep(page.request.url, page.facts._replace(unreadable=unreadable))
        self._read.add(page.request.url)
        try:
            following = self._pager.after(page.request, page.facts.visited)
        except PagesMoved as exc:
            self._restart(str(exc))
            return
        except Malformed as exc:
            raise Malformed(f"{self._name}: {exc}") from exc
        self._changes.page_read(page.facts.cursor)
        if following is None:
            self._finish()
        else:
            self._request = following

    def _restart(self, reason: str) -> None:
        """Read all pages again: at once for a few times, then with the next poll."""
        self._restarts += 1
        self._between = self._restarts > _RESTARTS
        self.moving = reason if self._between else None
        self._changes.pages_moved()
        self._begin()

    def _finish(self) -> None:
        self._changes.finish(complete=self._complete)
        self._whole = self._complete
        self._rejected.finish()
        self._cache.retain(self._read)
        self._restarts, self.moving = 0, None
        self._deleting = self._between = True
        self._begin()

    def _publish_deletions(self, room: int, batch: Batch) -> None:
        deletions = self._changes.deletions(room)
        self._deleting = len(deletions) == room
        made = [event for event in map(self._events.deletion, deletions) if event is not None]
        batch.records += made
        batch.rows = (batch.rows or 0) + len(made)
