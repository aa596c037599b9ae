"""The kinds of sources: to add one, add its package and one member to `AnySource`."""

import random
from typing import Annotated

from pydantic import Field

from services.system_api.sources.file.opening import FileSourceKind
from services.system_api.sources.http.polling.opening import HttpSourceKind
from services.system_api.sources.source import SourceOpener
from services.system_api.sources.table.opening import TableSourceKind
from shared.runtime.clock import Clock

AnySource = Annotated[FileSourceKind | HttpSourceKind | TableSourceKind, Field(discriminator="kind")]
"""The settings of one source, by `kind`. Each class has `opener`, which connects them to the code that reads."""


def build_source(name: str, options: AnySource, clock: Clock, rng: random.Random) -> SourceOpener:
    """Return what opens a source. mypy checks that every kind has an `opener`."""
    return options.opener(name, clock, rng)
