"""Where a rewind leads: the checkpoint from which a source reads again.

The events after that checkpoint, up to the one before the rewind, come again, with the ids that they had before:
subscribers and pipelines see them once more.
"""

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

from services.system_api.sources.capabilities import Place, Rewinding
from services.system_api.sources.source import Checkpoint, SourceOpener
from shared.errors import Malformed, SettingsError

logger = logging.getLogger(__name__)

SHOWN_PARTS = 50
"""Parts of a position that people are shown: a source may have read thousands of files."""


async def checkpoint_at(place: Place, current: Checkpoint, open_source: SourceOpener) -> Checkpoint:
    """Return the checkpoint of a place; `current` is the one that is saved now. Nothing is changed.

    Raises:
        Malformed: the source has no such place.
        SettingsError: the position is not one of this source.
        Unavailable: the upstream does not answer.
    """
    if isinstance(place, Mapping):
        async with open_source(place):
            return place
    try:
        async with open_source(current) as source:
            if isinstance(source, Rewinding):
                return await source.checkpoint_at(place)
    except SettingsError:
        # The checkpoint is of another kind of source, perhaps: then the beginning is what is left.
        if place != "beginning":
            raise
        logger.debug("cannot open source at its checkpoint; rewinding to the empty one", exc_info=True)
    if place != "beginning":
        raise Malformed("this source can be rewound to its beginning and to a position only")
    return {}


def described(before: Checkpoint, after: Checkpoint) -> dict[str, Any]:
    """Return a rewind for people, as JSON."""
    moved = sum(before.get(part) != after.get(part) for part in before.keys() | after.keys())
    return {"from": shown(before), "to": shown(after), "parts_moved": moved}


def shown(checkpoint: Checkpoint) -> dict[str, str]:
    """Return a checkpoint as JSON, without the parts beyond a bound."""
    return {part: value.decode(errors="replace") for part, value in islice(checkpoint.items(), SHOWN_PARTS)}
