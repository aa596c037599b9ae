"""From the options of a file source to the source, opened at a checkpoint."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from services.system_api.sources.file.io_thread import Disk
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Format, Parser, Place
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.drop import DropSource
from services.system_api.sources.file.reading.finalizer import PuttingAway
from services.system_api.sources.file.reading.open_files import Readings
from services.system_api.sources.file.reading.progress import load
from services.system_api.sources.file.reading.tail import TailSource
from services.system_api.sources.file.wake import Wake
from services.system_api.sources.source import Checkpoint, Opening, Source, Stamp
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks


def file_source(name: str, options: FileSourceOptions, clock: Clock, rng: random.Random) -> Opening:
    """Return what opens the source of this name."""

    @asynccontextmanager
    async def opening(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        count, files = load(checkpoint)
        stamp = Stamp(name, options.type, options.channel, clock, rng)
        catalogue = Catalogue(count, files, options.forget_hours * 3600)
        wake = Wake(name, options.path, clock, suffix=options.drop.done_suffix)

        def make(known_as: str, path: str, offset: int, line: int) -> Parser:
            place = Place(name, known_as, path)
            return Parser(_format(options), stamp, place, options.line_limit, offset=offset, line=line)

        async with AsyncExitStack() as stack:
            disk = await stack.enter_async_context(Disk.opened(f"source {name}"))
            readings = Readings(name, disk, make, catalogue)
            stack.callback(readings.close_all)
            tasks = await stack.enter_async_context(Tasks())
            tasks.keep(f"watch over the files of source {name}", wake.run())
            if options.mode == "tail":
                yield TailSource(options, stamp, disk, wake, readings, clock)
            else:
                other = await stack.enter_async_context(Disk.opened(f"source {name}, putting away"))
                away = PuttingAway(name, options.drop, other, tasks, clock)
                yield DropSource(options, stamp, disk, wake, readings, away, clock)

    return opening


def _format(options: FileSourceOptions) -> Format:
    if options.known_format == "ndjson":
        return Ndjson(options.subject, options.time)
    csv = options.csv
    return Csv(
        options.subject,
        options.time,
        delimiter=csv.delimiter,
        quotes=csv.quotes,
        header=csv.header,
        columns=csv.columns,
        types=csv.types,
    )
