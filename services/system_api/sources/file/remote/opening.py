"""Opens a source of remote files at a checkpoint."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

from services.system_api.sources.file.formats import DocumentMaker, record_opener
from services.system_api.sources.file.options import After, FileSourceOptions, Ready
from services.system_api.sources.file.reading.recounting import EventCounter, FileRecount
from services.system_api.sources.file.remote.finishing import RemoteFinisher, is_archived
from services.system_api.sources.file.remote.ledger import Ledger, load
from services.system_api.sources.file.remote.remote_drop import RemoteDrop
from services.system_api.sources.file.remote.remote_thread import RemoteThread
from services.system_api.sources.file.remote.rereading import RemoteReread
from services.system_api.sources.file.remote.store import RemoteStore
from services.system_api.sources.file.remote_options import scheme_of
from services.system_api.sources.file.start import Start
from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks

_STABLE_SFTP = 60.0
"""Seconds without a change after which a file counts as complete where files grow while they are written."""
RESOLUTION_SFTP = 2.0
"""Seconds for which a file on SFTP must have been seen unchanged, whatever marks it as complete. SFTP tells times in
whole seconds (FAT in two): a file that is replaced by one of the same size within the second in which it was read would
look the same, and be deleted or archived unread."""
_FINISHED_FOR = 600.0
"""Seconds for which a file that was archived or deleted is remembered: a listing may show it for a while."""


def remote_source(name: str, options: FileSourceOptions, clock: Clock, rng: random.Random) -> SourceOpener:
    """Return what opens the source of this name."""

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        keep = options.forget_hours * 3600 if options.drop.after is After.KEEP else _FINISHED_FOR
        start = Start(options.start, first=not checkpoint)
        ledger = Ledger(load(checkpoint), start, stable=stable_seconds(options), keep=keep)
        builder = EventBuilder(name, options.type, options.channel, clock, rng)
        make = DocumentMaker(name, options, record_opener(options), builder, clock)
        async with AsyncExitStack() as stack:
            url, timeout = options.path, options.remote.timeout
            skip = partial(is_archived, options=options)
            opened: list[RemoteStore] = []

            def hang_up() -> None:
                for each in opened:
                    each.hang_up()

            reading, finishing = (
                RemoteThread(f"source {name}{more}", url, timeout, hang_up) for more in ("", ", finisher")
            )
            stack.enter_context(reading.running())
            stack.enter_context(finishing.running())

            def open_store() -> RemoteStore:
                opened.append(RemoteStore(url, options.remote, skip))
                return opened[0]

            def close_store() -> None:
                for each in opened:
                    each.close()

            stack.callback(reading.submit, close_store)  # behind the opening, even if that is cancelled
            store = await reading.run(open_store)
            tasks = await stack.enter_async_context(Tasks())
            finisher = RemoteFinisher(name, options, store, finishing, tasks)
            source = RemoteDrop(options, ledger, store, reading, make, finisher, clock)
            counter = EventCounter(name, options.type, options.channel, clock, rng)
            again = RemoteReread(store, reading, replace(make, builder=counter))
            source.files = FileRecount(ledger.files, again, counter, timed=options.time is not None)
            yield source

    return open_source


def stable_seconds(options: FileSourceOptions) -> float:
    """Return for how many seconds a file must not have changed. An object of a bucket is complete when it is there."""
    sftp, wanted = scheme_of(options.path) == "sftp", 0.0
    if options.drop.ready is Ready.STABLE:
        wanted = options.drop.stable_seconds if options.drop.stable_seconds is not None else _STABLE_SFTP * sftp
    return max(wanted, RESOLUTION_SFTP) if sftp else wanted
