"""Opens a file source at a checkpoint: connects its options, files, threads and watcher."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from services.system_api.sources.file.dropping.drop import DropSource
from services.system_api.sources.file.dropping.finalize import is_own_output
from services.system_api.sources.file.dropping.finalizer import Finalizer
from services.system_api.sources.file.folders.folder_watcher import FolderWatcher
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.folders.listing import Listing
from services.system_api.sources.file.formats import DocumentMaker, line_formats, record_opener
from services.system_api.sources.file.held_files import RETAINED, DescriptorBudget, HeldFiles
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.parser import Parser
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.folder_view import FolderView
from services.system_api.sources.file.reading.losses import Losses
from services.system_api.sources.file.reading.open_document import Documents
from services.system_api.sources.file.reading.open_file import LineFiles
from services.system_api.sources.file.reading.open_files import OpenFiles
from services.system_api.sources.file.reading.opened import FileOpener
from services.system_api.sources.file.reading.progress import load
from services.system_api.sources.file.reading.recounting import EventCounter, FileRecount, LocalReread
from services.system_api.sources.file.remote.opening import remote_source
from services.system_api.sources.file.remote_options import scheme_of
from services.system_api.sources.file.start import Start
from services.system_api.sources.file.tailing.changes import ChangeTracker
from services.system_api.sources.file.tailing.rotation import Rotation
from services.system_api.sources.file.tailing.tail import TailSource
from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks


class FileSourceKind(FileSourceOptions):
    """Files of lines or rows, found by a glob."""

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name."""
        return file_source(name, self, clock, rng)


def file_source(name: str, options: FileSourceOptions, clock: Clock, rng: random.Random) -> SourceOpener:
    """Return what opens the source of this name."""
    if scheme_of(options.path) is not None:
        return remote_source(name, options, clock, rng)

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        count, files = load(checkpoint)
        builder = EventBuilder(name, options.type, options.channel, clock, rng)
        catalogue = Catalogue(count, files, options.forget_hours * 3600)

        make_format = line_formats(name, options)

        def make(events: EventBuilder, file_id: str, path: str, offset: int, line: int) -> Parser:
            identity = FileIdentity(name, file_id, path, options.origin if events is builder else ())
            return Parser(
                make_format(),
                events,
                identity,
                options.line_limit,
                offset=offset,
                line=line,
                whole=options.mode == "drop",
                encoding=options.encoding,
            )

        async with AsyncExitStack() as stack:
            io_thread = await stack.enter_async_context(IoThread.opened(f"source {name}"))
            tails = options.mode == "tail"
            held = HeldFiles(DescriptorBudget(0))
            if tails:
                held = stack.enter_context(RETAINED.of((name, options.path, options.rotated)))
            disk = Disk(io_thread, held)

            def opener(events: EventBuilder, disk: Disk) -> FileOpener:
                if options.document_reason is None:
                    return LineFiles(disk, partial(make, events))
                given = options if events is builder else options.model_copy(update={"origin": ()})
                return Documents(disk, DocumentMaker(name, given, record_opener(options), events, clock))

            open_files = OpenFiles(name, opener(builder, disk), disk, catalogue)
            open_files.start = Start(options.start, first=not checkpoint)
            stack.callback(open_files.close_all)
            tasks = await stack.enter_async_context(Tasks())
            source = await (_tail if tails else _drop)(name, options, builder, open_files, tasks, stack, clock)
            counter = EventCounter(name, options.type, options.channel, clock, rng)
            timed = options.time is not None
            # Without the held files, which another opening of the source may be reading.
            own = Disk(io_thread, HeldFiles(DescriptorBudget(0)))
            source.files = FileRecount(catalogue.files, LocalReread(own, opener(counter, own)), counter, timed=timed)
            yield source

    return open_source


async def _tail(
    name: str,
    options: FileSourceOptions,
    builder: EventBuilder,
    open_files: OpenFiles,
    tasks: Tasks,
    _stack: AsyncExitStack,
    clock: Clock,
) -> TailSource:
    glob = Glob(options.path)
    rotated = None if options.rotated is None else Glob(options.rotated)
    globs = [glob] if rotated is None else [glob, rotated]
    view = FolderView(Listing(globs, rotated=True), open_files.disk, options.interval, clock, hold=True)
    watcher = FolderWatcher(name, globs, clock)
    tasks.keep(f"folder watcher of source {name}", watcher.run(view.note_paths))
    losses = Losses(options.forget_hours * 3600)
    tracker = ChangeTracker(glob, view, open_files, Rotation(glob, rotated), losses, clock)
    return TailSource(builder, watcher, tracker, open_files, losses, clock)


async def _drop(
    name: str,
    options: FileSourceOptions,
    builder: EventBuilder,
    open_files: OpenFiles,
    tasks: Tasks,
    stack: AsyncExitStack,
    clock: Clock,
) -> DropSource:
    glob = Glob(options.path)
    listing = Listing([glob], lambda path: is_own_output(path, glob, options.drop))
    view = FolderView(listing, open_files.disk, options.interval, clock, hold=False)
    watcher = FolderWatcher(name, [glob], clock, suffix=options.drop.done_suffix)
    tasks.keep(f"folder watcher of source {name}", watcher.run(view.note_paths))
    io_thread = await stack.enter_async_context(IoThread.opened(f"source {name}, finalizer"))
    finalizer = Finalizer(name, options.drop, io_thread, tasks, clock)
    stack.callback(finalizer.close)
    return DropSource(options, builder, watcher, view, open_files, finalizer, clock)
