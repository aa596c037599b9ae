"""From the options of a table source to the source, opened at a checkpoint."""

import random
from contextlib import AbstractAsyncContextManager

from services.system_api.source import Checkpoint, Opening, Source, Stamp
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql import open_postgresql
from shared.clock import Clock


def table_source(name: str, options: TableSourceOptions, clock: Clock, dice: random.Random) -> Opening:
    """Return what opens the source of this name."""

    def opening(checkpoint: Checkpoint) -> AbstractAsyncContextManager[Source]:
        return open_postgresql(options, Stamp(name, options.type, options.channel, clock, dice), checkpoint)

    return opening
