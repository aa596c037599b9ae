"""What a source may be able to do for operators, beside being read. Each is a protocol that it may implement."""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from services.system_api.sources.source import Checkpoint, SourceOpener
from shared.runtime.clock import Clock

Place = Literal["beginning", "end"] | datetime | Checkpoint
"""Where an operator rewinds a source to: everything there is, what comes from now on, what has changed since a time, or
what comes after a saved position."""


@runtime_checkable
class Rewinding(Protocol):
    """Sources that can name the checkpoint of another place than the one they were opened at.

    Any source can be rewound to its beginning, which is the empty checkpoint, and to a saved position. A source needs
    this protocol for the end, for a time, and where its beginning is not the empty checkpoint: because a setting names
    another place to start from, or because the ids of events come from what the checkpoint remembers.
    """

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the whole checkpoint from which exactly what comes after `place` is read, with the same ids as before.

        The source may have been opened for this alone. It is closed afterwards.

        Raises:
            Malformed: the source has no such place; the text tells which it has.
            Unavailable: worth retrying.
        """
        ...


@runtime_checkable
class Seeking(Protocol):
    """Rewinding sources that must read all there is to find their end, which may take longer than one poll may."""

    async def seek_end(self) -> Checkpoint | None:
        """Read on towards the end; return its checkpoint, or None while it is not reached.

        Raises:
            Malformed: the end cannot be found; the text tells why.
            Unavailable: worth retrying: the next call goes on where this one failed.
        """
        ...


@runtime_checkable
class Snapshotting(Protocol):
    """Sources that can publish again, beside what changes, everything that is there now."""

    async def snapshot(self) -> dict[str, bytes | None]:
        """Begin a snapshot: the polls that follow also return what is there now, with the ids that it had before.

        Returns the parts of the checkpoint that begin it, which are committed before the next poll; the progress of a
        snapshot is part of the checkpoint. One that is in progress begins again.

        Raises:
            Malformed: the settings allow no snapshot; the text tells why.
            Unavailable: worth retrying.
        """
        ...


@runtime_checkable
class Countable(Protocol):
    """Sources whose upstream can tell how much it has, so that it can be compared with what is published."""

    async def count(self, since: datetime, until: datetime) -> int:
        """Return how many entities the upstream has now that changed last within [since, until); both are aware.

        Raises:
            Malformed: the settings do not allow it; the text tells why.
            Unavailable: the upstream does not answer, or not in time.
        """
        ...

    def entity(self, position: str) -> str:
        """Return what the events of one entity have in common; `position` is that of an event, from its id."""
        ...


@runtime_checkable
class Recountable(Protocol):
    """Sources that can read again what they have published, and compare it event by event."""

    async def recount(self, since: datetime | None, until: datetime | None) -> int:
        """Return how many events come before the saved position, with a time within [since, until); None: any time.

        Raises:
            Malformed: the settings do not allow it; the text tells why.
            Unavailable: the upstream does not answer.
        """
        ...

    def entity(self, position: str) -> str | None:
        """Return the position of an event if `recount` has read it; None for an event that cannot be compared."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What the last `recount` could not compare, as text."""
        ...


@runtime_checkable
class Probing(Protocol):
    """Settings of sources that can be probed without a poll, because a poll takes something from the upstream."""

    async def probe(self, name: str) -> str:
        """Connect as the source of this name would; return in a few words what answered. Nothing is changed.

        Empty: a poll takes nothing from the upstream, and tells more.

        Raises:
            Unavailable: the upstream is unavailable.
            SettingsError: the settings cannot work.
        """
        ...


@runtime_checkable
class Inquirable(Protocol):
    """Settings of sources that take their upstream over when they are opened, as a session with a broker does."""

    def inquirer(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name to ask it, beside the one that runs, and to read nothing.

        Raises:
            SettingsError: the client library is not installed.
        """
        ...
