"""The tables of the latest events in memory, for tests."""

import re
from collections.abc import Callable, Mapping

from services.experience_api.latest.fitting import Stored, fit
from services.experience_api.latest.ranges import ChannelRange
from services.experience_api.latest.subjects import Batch, Kept
from services.experience_api.latest.view import Page, Row, Shorter, Stale, View
from services.experience_api.wire.snapshot_cursor import Place
from shared.errors import Unavailable


class MemoryLatest:
    """Both reads and writes."""

    def __init__(self, rows_of_a_page: int = 500) -> None:
        self.rows: dict[tuple[str, bytes], Row] = {}
        self.stored: Stored | None = None
        self.unavailable = 0
        """How many more calls fail."""
        self.on_page: dict[int, Callable[[], None]] = {}
        """Called once that many pages have been read, before the last of them is returned."""
        self._pages = 0
        self._rows_of_a_page = rows_of_a_page

    async def view(self) -> View | None:
        self._attempt()
        return None if self.stored is None else self.stored.view

    async def page(self, within: ChannelRange, after: Place, page_bytes: int) -> Page:
        self._attempt()
        found = self._page(within, after, page_bytes)
        self._pages += 1
        self.on_page.get(self._pages, lambda: None)()
        assert self.stored is not None
        return found._replace(version=self.stored.view.version)

    def _page(self, within: ChannelRange, after: Place, page_bytes: int) -> Page:
        found: list[Row] = []
        size = 0
        for key in sorted(self.rows):
            if key > after and within.low <= key[0] < within.high and matches(within, key[0]):
                if len(found) == self._rows_of_a_page or size >= page_bytes:
                    return Page(found, complete=False, version=0)
                found.append(self.rows[key])
                size += len(self.rows[key].event)
        return Page(found, complete=True, version=0)

    async def begin(self, epoch: str, bounds: Mapping[int, tuple[int, int]], kept: Kept, *, shorter: bool) -> View:
        self._attempt()
        fitted = fit(self.stored, epoch, bounds, kept.digest)
        if fitted.truncated and not shorter:
            raise Shorter("truncated")
        self.stored = fitted.stored
        if fitted.other_settings:
            self.rows = {key: row for key, row in self.rows.items() if kept.covers(key[0])}
        return self.stored.view

    async def write(self, view: View, batch: Batch) -> None:
        self._attempt()
        assert self.stored is not None
        now = self.stored.view
        if now.version != view.version or any(now.positions[each] != batch.before[each] for each in batch.after):
            raise Stale("stale")
        for key, change in batch.changes.items():
            before = self.rows.get(key)
            if before is None or (before.generation, before.offset) < (view.generation, change.offset):
                self.rows.pop(key, None)
                if change.event is not None:
                    self.rows[key] = Row(Place(*key), view.generation, change.partition, change.offset, change.event)
        positions = tuple(batch.after.get(partition, offset) for partition, offset in enumerate(now.positions))
        copied = max([now.copied_ms, *batch.copied_ms.values()])
        self.stored = self.stored._replace(view=now._replace(positions=positions, copied_ms=copied))

    def _attempt(self) -> None:
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("the database is away")


def matches(within: ChannelRange, channel: str) -> bool:
    """Return whether a range means a channel, as PostgreSQL finds out."""
    return within.names is None or channel in within.names or re.search(within.expression, channel) is not None
