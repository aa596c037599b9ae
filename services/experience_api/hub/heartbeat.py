"""Who is to be pinged when, and who has been silent for too long: one wheel for all connections, not a timer each."""

from typing import Generic, TypeVar

from pydantic import Field

from shared.settings import Options

SLOTS = 16


class HeartbeatOptions(Options):
    """How soon a dead connection is noticed."""

    seconds: float = Field(default=25.0, gt=0)
    """Between two pings of one connection; nothing heard between them ends it. Most proxies forget an idle
    connection after 30 to 60 seconds."""


Member = TypeVar("Member")


class Wheel(Generic[Member]):
    """Spreads its members over one turn, so that a thousand pings are never sent at once."""

    def __init__(self) -> None:
        self._slots: list[dict[Member, None]] = [{} for _ in range(SLOTS)]
        self._now = 0

    def add(self, member: Member) -> None:
        """Let a member come up after a whole turn, and once in each turn from then on."""
        self._slots[self._now][member] = None

    def discard(self, member: Member) -> None:
        """Forget a member; one that is not there is no error."""
        for slot in self._slots:
            if member in slot:
                del slot[member]
                return

    def advance(self) -> list[Member]:
        """Go one slot further and return whose turn it is."""
        self._now = (self._now + 1) % SLOTS
        return list(self._slots[self._now])


def alive(*, heard: bool, waited: int, waits: int) -> bool:
    """Judge the time between two turns: was anything heard, and how many bytes waited before and wait now?

    One that is slow answers late, for the ping stands behind what it has not read yet; as long as that becomes less,
    it is alive.
    """
    return heard or 0 < waits < waited
