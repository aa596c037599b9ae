"""Parts that come when what they need has come: the database, the bus. Until then, those who ask are told to wait."""

from typing import Generic, TypeVar

from services.experience_api.refusals import UNAVAILABLE, Refused

Part = TypeVar("Part")


class Awaited(Generic[Part]):
    """A part that may not be there yet."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._part: Part | None = None

    def came(self, part: Part) -> None:
        """Let the part be used from now on."""
        self._part = part

    @property
    def now(self) -> Part | None:
        """The part, if it is there."""
        return self._part

    def went(self) -> None:
        """Let it not be used any more."""
        self._part = None

    def get(self) -> Part:
        """Return the part.

        Raises:
            Refused: `UNAVAILABLE`: it is not there.
        """
        if self._part is None:
            raise Refused(UNAVAILABLE, f"{self._what} is not there yet; try again", retry_after=1.0)
        return self._part
