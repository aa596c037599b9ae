"""Opens a source of the kind `http` at a checkpoint: connects its options, the client and what recognises changes."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_never

from yarl import URL

from services.system_api.sources.http.polling.changes.by_cursor import ByCursor
from services.system_api.sources.http.polling.changes.by_snapshot import BySnapshot
from services.system_api.sources.http.polling.changes.by_time import ByTime
from services.system_api.sources.http.polling.changes.protocol import Changes
from services.system_api.sources.http.polling.events import RecordEvents
from services.system_api.sources.http.polling.fetching import PageFetcher
from services.system_api.sources.http.polling.options import (
    ByCursorOptions,
    BySnapshotOptions,
    ByTimeOptions,
    ChangesOptions,
    HttpSourceOptions,
    LinkOptions,
)
from services.system_api.sources.http.polling.page_cache import PageCache
from services.system_api.sources.http.polling.reading import PageReader
from services.system_api.sources.http.polling.rejected import RejectedRecords
from services.system_api.sources.http.polling.source import HttpSource
from services.system_api.sources.http.polling.sweep import Sweep
from services.system_api.sources.http.trial import Trial
from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from shared.errors import SettingsError
from shared.http.client.client import opened_client
from shared.runtime.clock import Clock


class HttpSourceKind(HttpSourceOptions):
    """An API that is polled."""

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name."""
        return http_source(name, self, clock, rng)


def http_source(name: str, options: HttpSourceOptions, clock: Clock, rng: random.Random) -> SourceOpener:
    """Return what opens the source of this name."""
    place = f"system.sources.{name}"
    tried = Trial(place, options.expressions())

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        try:
            changes, rejected = make_changes(options.changes, checkpoint, clock), RejectedRecords(checkpoint)
        except SettingsError as exc:
            raise SettingsError(f"{place}: {exc}") from exc
        await tried.check()
        cache = PageCache()
        async with (
            opened_client(place, URL(options.url), options, clock) as client,
            PageReader.opened(options, place, name) as reader,
        ):
            sweep = Sweep(options, changes, rejected, _events(name, options, clock, rng), cache)
            fetcher = PageFetcher(client, reader, cache, clock, by_links=isinstance(options.pagination, LinkOptions))
            yield HttpSource(name, sweep, client, fetcher, options.poll_timeout, options.retry.attempts)

    return open_source


def make_changes(options: ChangesOptions, checkpoint: Checkpoint, clock: Clock) -> Changes:
    """Return what recognises new and changed records.

    Raises:
        SettingsError: the checkpoint is of another kind.
    """
    match options:
        case ByTimeOptions():
            return ByTime(options, checkpoint, clock)
        case BySnapshotOptions():
            return BySnapshot(options, checkpoint)
        case ByCursorOptions():
            return ByCursor(options, checkpoint)
        case _:
            assert_never(options)


def _events(name: str, options: HttpSourceOptions, clock: Clock, rng: random.Random) -> RecordEvents:
    changed = EventBuilder(name, options.type, options.channel, clock, rng)
    changes = options.changes
    if not isinstance(changes, BySnapshotOptions) or not changes.deletes:
        return RecordEvents(changed, None)
    deleted = changes.deleted_type or f"{options.type}.deleted"
    return RecordEvents(changed, EventBuilder(name, deleted, options.channel, clock, rng))
