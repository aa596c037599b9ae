"""What all replicas share of the sources. `tests/contracts/operations/` has a test for each guarantee below."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from services.system_api.operations.requests import Command, Control, Outcome
from services.system_api.operations.windows import Window


@dataclass(frozen=True, slots=True)
class SharedStatus:
    """The status of a source, as its owner published it."""

    source: str
    node: str
    epoch: int
    """Of the owner's lease."""
    status: Mapping[str, Any]
    """JSON; its `counts` are those of `windows.COUNTS`."""
    at: float = 0.0
    """When it was published, in seconds since 1970, by the clock of the store."""


class SourceStore(Protocol):
    """Controls and statuses by source. Every change is atomic, and survives restarts of all replicas.

    All methods raise `Unavailable` if the store does not answer; it is not known then whether the change took place.
    """

    @property
    def lasting(self) -> bool:
        """Whether statuses survive a restart of all replicas."""
        ...

    async def controls(self) -> Mapping[str, Control]:
        """Return what operators ask, by source; a source that nothing was ever asked of is absent."""
        ...

    async def pause(self, source: str, by: str, reason: str) -> Control:
        """Ask that the source be paused; return what is asked of it now."""
        ...

    async def resume(self, source: str, by: str) -> Control:
        """Ask that the source run."""
        ...

    async def poll(self, source: str) -> Control:
        """Ask for a poll now."""
        ...

    async def request(self, source: str, command: Command, place: str | None, by: str) -> Control:
        """Ask for something that is carried out once. Its generation is above earlier ones, also of a lost store."""
        ...

    async def settle(self, source: str, outcome: Outcome) -> None:
        """Note what came of a request; an outcome of an older one changes nothing."""
        ...

    async def publish(self, statuses: Sequence[SharedStatus]) -> None:
        """Publish statuses, and their counts as those of the current window.

        One of an older epoch than the published one changes nothing.
        """
        ...

    async def windows(self, source: str, since: float) -> Sequence[Window]:
        """Return the windows of a source that began since a time, in order, and the last one before it."""
        ...

    async def forget_windows(self, before: float) -> None:
        """Forget the windows of all sources that began before a time."""
        ...

    async def status(self, source: str) -> SharedStatus | None:
        """Return what was published last of one source."""
        ...

    async def statuses(self) -> Mapping[str, SharedStatus]:
        """Return what was published last, by source."""
        ...

    def watch(self) -> AbstractContextManager[asyncio.Event]:
        """Watch the controls: the event is set when one may have changed. A notification may be missed."""
        ...
