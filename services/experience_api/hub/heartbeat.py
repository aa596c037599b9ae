"""Schedules pings and judges whether a peer is alive: one timing wheel for all connections, not one timer each."""

from typing import Generic, TypeVar

from pydantic import Field

from shared.settings import Options

SLOTS = 16


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


def alive(*, received: bool, buffered_before: int, buffered: int) -> bool:
    """Judge the time between two pings: did anything arrive, and how many bytes were buffered before and are now?

    A slow reader answers late, because the ping queues behind what it has not read yet. It is alive as long as its
    buffer shrinks.
    """
    return received or 0 < buffered < buffered_before
