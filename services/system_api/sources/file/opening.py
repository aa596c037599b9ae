"""Opens a file source at a checkpoint: connects its options, files, threads and watcher."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from services.system_api.sources.file.folder_watcher import FolderWatcher
from services.system_api.sources.file.formats import DocumentMaker, line_format, record_opener
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.parsing.parser import FileIdentity, Parser
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.drop import DropSource
from services.system_api.sources.file.reading.finalizer import Finalizer
from services.system_api.sources.file.reading.open_document import Documents
from services.system_api.sources.file.reading.open_file import LineFiles
from services.system_api.sources.file.reading.open_files import OpenFiles
from services.system_api.sources.file.reading.opened import FileOpener
from services.system_api.sources.file.reading.progress import load
from services.system_api.sources.file.reading.tail import TailSource
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

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        count, files = load(checkpoint)
        builder = EventBuilder(name, options.type, options.channel, clock, rng)
        catalogue = Catalogue(count, files, options.forget_hours * 3600)
        watcher = FolderWatcher(name, options.path, clock, suffix=options.drop.done_suffix)

        def make(file_id: str, path: str, offset: int, line: int) -> Parser:
            identity = FileIdentity(name, file_id, path)
            return Parser(
                line_format(options),
                builder,
                identity,
                options.line_limit,
                offset=offset,
                line=line,
                whole=options.mode == "drop",
                encoding=options.encoding,
            )

        async with AsyncExitStack() as stack:
            io_thread = await stack.enter_async_context(IoThread.opened(f"source {name}"))
            opener: FileOpener = LineFiles(io_thread, make)
            if options.document_reason is not None:
                opener = Documents(io_thread, DocumentMaker(name, options, record_opener(options), builder, clock))
            open_files = OpenFiles(name, opener, catalogue)
            stack.callback(open_files.close_all)
            tasks = await stack.enter_async_context(Tasks())
            tasks.keep(f"folder watcher of source {name}", watcher.run())
            if options.mode == "tail":
                yield TailSource(options, builder, io_thread, watcher, open_files, clock)
            else:
                finalizing = await stack.enter_async_context(IoThread.opened(f"source {name}, finalizer"))
                finalizer = Finalizer(name, options.drop, finalizing, tasks, clock)
                yield DropSource(options, builder, io_thread, watcher, open_files, finalizer, clock)

    return open_source
