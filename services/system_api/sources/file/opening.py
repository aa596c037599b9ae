"""From the options of a file source to the source, opened at a checkpoint."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.system_api.source import Checkpoint, Opening, Source, Stamp
from services.system_api.sources.file.catalogue import Catalogue
from services.system_api.sources.file.delimited import Csv
from services.system_api.sources.file.disk import Disk
from services.system_api.sources.file.ndjson import Ndjson
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.parser import Format, Parser, Place
from services.system_api.sources.file.progress import load
from services.system_api.sources.file.readings import Readings
from services.system_api.sources.file.tail import TailSource
from services.system_api.sources.file.wake import Wake
from shared.clock import Clock
from shared.tasks import Tasks


def file_source(name: str, options: FileSourceOptions, clock: Clock, dice: random.Random) -> Opening:
    """Return what opens the source of this name."""

    @asynccontextmanager
    async def opening(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        count, files = load(checkpoint)
        stamp = Stamp(name, options.type, options.channel, clock, dice)
        catalogue = Catalogue(count, files, options.forget_hours * 3600)
        wake = Wake(name, options.path, clock)

        def make(known_as: str, path: str, offset: int, line: int) -> Parser:
            place = Place(name, known_as, path)
            return Parser(_format(options), stamp, place, options.line_limit, offset=offset, line=line)

        async with Disk.opened(f"source {name}") as disk, Tasks() as tasks:
            tasks.keep(f"watch over the files of source {name}", wake.run())
            readings = Readings(name, disk, make, catalogue)
            try:
                yield TailSource(options, stamp, disk, wake, catalogue, readings, clock)
            finally:
                readings.close_all()

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
