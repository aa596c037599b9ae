"""The one place that knows which kind of source is made by what."""

import random
from typing import assert_never

from services.system_api.sources.file.opening import file_source
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.source import Opening
from services.system_api.sources.table.opening import table_source
from services.system_api.sources.table.options import TableSourceOptions
from shared.runtime.clock import Clock

AnySource = FileSourceOptions | TableSourceOptions


def build_source(name: str, options: AnySource, clock: Clock, rng: random.Random) -> Opening:
    """Return what opens a source."""
    match options:
        case FileSourceOptions():
            return file_source(name, options, clock, rng)
        case TableSourceOptions():
            return table_source(name, options, clock, rng)
        case _:
            assert_never(options)
