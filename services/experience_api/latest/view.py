"""What is stored of the latest events, and what reads and writes it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from services.experience_api.latest.ranges import ChannelRange
from services.experience_api.latest.subjects import Batch, Kept
from services.experience_api.wire.cursor import Vector
from services.experience_api.wire.snapshot_cursor import Place
from shared.errors import TrelayError, Unavailable


class View(NamedTuple):
    """Which log the latest events come from, and how far it is copied."""

    epoch: str
    generation: int
    """Offsets of one generation can be compared. Events of an earlier one come before all of a later one."""
    version: int
    """Grows whenever positions are set back: what was read with another version does not belong together."""
    positions: Vector
    copied_ms: int
    """The time of the newest event that was copied; 0 if there is none."""
    missed: int
    """Offsets that retention removed before they were copied."""


class Row(NamedTuple):
    """The latest event of a subject."""

    place: Place
    generation: int
    partition: int
    offset: int
    event: bytes


class Page(NamedTuple):
    """Some rows of a range, in order."""

    rows: Sequence[Row]
    complete: bool
    """Whether the range has no more of them."""
    version: int
    """That of the view after they were read."""


class LatestEvents(Protocol):
    """Reads the latest events. Every method raises `Unavailable` while the database does not answer."""

    async def view(self) -> View | None:
        """Return what is copied; None if nothing has been yet."""
        ...

    async def page(self, within: ChannelRange, after: Place, page_bytes: int) -> Page:
        """Return the next rows of a range after a place: so many bytes of them, and one at least."""
        ...


class Stale(TrelayError):
    """The stored positions are not those at which a batch begins: another replica has written."""


class Shorter(Unavailable):
    """The topic appears to end before what was copied of it, which is not confirmed yet."""


class LatestStore(Protocol):
    """Writes the latest events. Every method raises `Unavailable` while the database does not answer."""

    async def begin(self, epoch: str, bounds: Mapping[int, tuple[int, int]], kept: Kept, *, shorter: bool) -> View:
        """Fit what is stored to the topic and to the settings; return it.

        Raises:
            Shorter: the topic ends before what was copied, and the caller does not know for sure that it is `shorter`.
        """
        ...

    async def write(self, view: View, batch: Batch) -> None:
        """Write a batch in one transaction.

        Raises:
            Stale: it has no effect, and copying has to begin again.
        """
        ...
