"""Parts that exist once the database or the bus is connected. Requests are refused as unavailable until then."""

import asyncio
from typing import Generic, TypeVar

from services.experience_api.refusals import UNAVAILABLE, Refused

Part = TypeVar("Part")


class LateBound(Generic[Part]):
    """A part that may not exist yet."""

    def __init__(self, what: str) -> None:
        """`what` names the dependency that is missing until the part is set."""
        self._what = what
        self._part: Part | None = None
        self._exists = asyncio.Event()

    def set(self, part: Part) -> None:
        self._part = part
        self._exists.set()

    def clear(self) -> None:
        self._part = None
        self._exists.clear()

    async def wait(self) -> None:
        """Return once the part exists."""
        await self._exists.wait()

    @property
    def value(self) -> Part | None:
        """The part; None while it does not exist."""
        return self._part

    def get(self) -> Part:
        """Return the part.

        Raises:
            Refused: `UNAVAILABLE`: it does not exist at the moment.
        """
        if self._part is None:
            raise Refused(UNAVAILABLE, f"starting: {self._what} unavailable; try again", retry_after=1.0)
        return self._part
