"""Where a rewind leads: the checkpoint from which a source reads again.

The events after that checkpoint, up to the one before the rewind, come again, with the ids that they had before:
subscribers and pipelines see them once more.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any, Protocol, TypeVar

from services.system_api.sources.capabilities import Place, Rewinding, Seeking
from services.system_api.sources.source import Checkpoint, SourceOpener
from shared.errors import Malformed, SettingsError

logger = logging.getLogger(__name__)

T = TypeVar("T")

SHOWN_PARTS = 50
"""Parts of a position that people are shown: a source may have read thousands of files."""


class Attempt(Protocol):
    """Carries out a step of a rewind, and may repeat one that raises `Unavailable`."""

    async def __call__(self, step: Callable[[], Awaitable[T]], /) -> T:
        """Return what the step returns."""
        ...


async def once(step: Callable[[], Awaitable[T]], /) -> T:
    """Carry out a step; see `Attempt`."""
    return await step()


async def checkpoint_at(
    place: Place, current: Checkpoint, open_source: SourceOpener, attempt: Attempt = once
) -> Checkpoint:
    """Return the checkpoint of a place; `current` is the one that is saved now. Nothing is changed.

    `attempt` carries out each step; none of them takes longer than a poll may.

    Raises:
        Malformed: the source has no such place.
        SettingsError: the position is not one of this source.
        Unavailable: the upstream does not answer.
    """
    async with AsyncExitStack() as stack:
        found = await attempt(lambda: _asked(place, current, open_source, stack))
        if not isinstance(found, Seeking):
            return found
        while (end := await attempt(found.seek_end)) is None:
            pass
        return end


async def _asked(
    place: Place, current: Checkpoint, open_source: SourceOpener, stack: AsyncExitStack
) -> Checkpoint | Seeking:
    """Return the checkpoint of a place, or a source that seeks it, which `stack` keeps open."""
    async with AsyncExitStack() as opening:
        if isinstance(place, Mapping):
            await opening.enter_async_context(open_source(place))
            return place
        try:
            source = await opening.enter_async_context(open_source(current))
            if place == "end" and isinstance(source, Seeking):
                await stack.enter_async_context(opening.pop_all())
                return source
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
