"""The settings of the state of pipelines."""

from pathlib import Path

from pydantic import Field

from shared.settings import Options


class StateOptions(Options):
    """Where the state of pipelines is while they run. It is restored from the bus, wherever it was."""

    directory: Path | None = Field(default=None)
    """A directory of this replica alone, for state that does not fit into memory: a database there needs about 150 MiB
    of memory, whatever its size. A replica that finds its directory again after a restart reads only what is missing.
    Needs the extra `state`. By default, state is in memory: about 200 bytes for each key, and its value."""
