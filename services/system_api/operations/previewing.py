"""What a rewind would do, found out by any replica; nothing is changed."""

import asyncio
from collections.abc import Mapping
from typing import Any

from services.system_api.operations.checkpoints import checkpoint_part, split
from services.system_api.operations.rewinding import checkpoint_at, described
from services.system_api.sources.capabilities import Place
from services.system_api.sources.source import Checkpoint, SourceOpener
from shared.bus.protocol import Bus
from shared.errors import Unavailable

_TIMEOUT = 30.0


async def saved(bus: Bus, topic: str, source: str) -> Checkpoint:
    """Return the saved position of a source; `topic` is that of the checkpoints. Raises `Unavailable`."""
    found = await bus.latest(topic, source.encode())
    return split({checkpoint_part(source, key): value for key, value in found.items()})[1]


async def preview(bus: Bus, topic: str, source: str, place: Place, open_source: SourceOpener) -> Mapping[str, Any]:
    """Return from where to where a rewind of a source would lead; `topic` is that of the checkpoints.

    Raises:
        Malformed: the source has no such place.
        SettingsError: the position is not one of this source.
        Unavailable: the bus or the upstream does not answer.
    """
    current = await saved(bus, topic, source)
    try:
        async with asyncio.timeout(_TIMEOUT):
            after = await checkpoint_at(place, current, open_source)
    except TimeoutError as exc:
        raise Unavailable(f"source {source} could not be opened within {_TIMEOUT:g} s") from exc
    return {"dry_run": True, **described(current, after)}
