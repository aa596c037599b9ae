"""Schedules pings and judges whether a peer is alive: one timing wheel for all connections, not one timer each."""

from typing import Generic, NamedTuple, TypeVar

from pydantic import Field

from shared.settings import Options

SLOTS = 16
_BACKLOG = 16_384
"""Bytes: more than are on their way to a peer that reads as fast as events come."""


class HeartbeatOptions(Options):
    """How soon a dead connection is detected."""

    seconds: float = Field(default=25.0, gt=0)
    """Seconds between two pings of one connection. A connection from which nothing arrives in between is closed. Most
    proxies drop an idle connection after 30 to 60 seconds."""


Member = TypeVar("Member")


class Wheel(Generic[Member]):
    """Spreads its members over one turn, so that a thousand pings are never sent at once."""

    def __init__(self) -> None:
        self._slots: list[dict[Member, None]] = [{} for _ in range(SLOTS)]
        self._current = 0

    def add(self, member: Member) -> None:
        """Add a member. It is due after one full turn, then once a turn."""
        self._slots[self._current][member] = None

    def discard(self, member: Member) -> None:
        """Remove a member. An unknown one is ignored."""
        for slot in self._slots:
            if member in slot:
                del slot[member]
                return

    def advance(self) -> list[Member]:
        """Move to the next slot and return its members."""
        self._current = (self._current + 1) % SLOTS
        return list(self._slots[self._current])


class Position(NamedTuple):
    """How far a connection has been served."""

    cursor: bytes
    """Up to which everything has been written to its outbox."""
    lag: int
    """Records of the publish topic after that, as far as this replica has read it."""
    live: bool
    """Whether it has caught up."""


class Progress(NamedTuple):
    """A measurement of one connection."""

    buffered: int
    """Bytes that our kernel has not accepted yet."""
    acknowledged: int | None = None
    """Bytes that the peer's kernel has acknowledged since the connection began; None if that is not known."""
    queued: int = 0
    """Bytes that our kernel has accepted and the peer's has not acknowledged."""
    window: int = 0
    """Bytes that the peer's kernel has room for."""

    @property
    def end(self) -> int:
        """What `acknowledged` will be once everything has arrived that was written so far."""
        return (self.acknowledged or 0) + self.queued + self.buffered

    @property
    def backlog(self) -> bool:
        """Whether more waits than is on its way to a peer that keeps up."""
        return self.buffered > 0 if self.acknowledged is None else self.queued + self.buffered >= _BACKLOG


def reads(before: Progress, now: Progress) -> bool:
    """Return whether the peer has read between two measurements.

    If it had more to read than its kernel holds, it has read when more was acknowledged. Otherwise all that is left is
    with its kernel, whose window grows as the program reads.
    """
    if before.acknowledged is None or now.acknowledged is None:
        return 0 < now.buffered < before.buffered
    if before.backlog or now.acknowledged < before.end:
        return now.acknowledged > before.acknowledged
    return now.window > before.window


PATIENCE = 2
"""Heartbeats without progress after which a peer with a backlog counts as dead: the window of a peer that reads slowly
opens in steps, each a sixteenth of its receive buffer. Also those without an answer of a peer that answers them: what a
proxy has read, the peer may still have to read before the heartbeat."""


def alive(*, received: bool, before: Progress, now: Progress, stalled: int) -> bool:
    """Judge the time between two pings: did anything arrive, and has the peer read of what waits for it?

    A slow reader answers late, because the ping queues behind what it has not read yet. It is alive as long as it
    reads. `stalled` is the number of heartbeats before this one in which it has not.
    """
    if received or reads(before, now):
        return True
    return before.acknowledged is not None and before.backlog and stalled + 1 < PATIENCE


def answered(*, received: bool, before: Progress, now: Progress, stalled: int) -> bool:
    """Judge the time between two heartbeats of a peer that answers them: did a message arrive?

    What was acknowledged may have been read by a proxy only. It counts while there is a backlog, which a proxy takes
    no further once its own buffer is full. `stalled` is as for `alive`.
    """
    return received or stalled + 1 < PATIENCE or (before.backlog and reads(before, now))
