"""The place of one connection of this replica: claimed, then occupied, then perhaps lost. Sans-I/O."""

from typing import Protocol
from uuid import UUID

from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.registry.protocol import Claim
from services.experience_api.tokens import TokenClaims


class Connection(Protocol):
    """What is asked of a live connection."""

    def end(self, reason: CloseReason) -> None:
        """Close it."""
        ...

    async def answers(self, within: float) -> bool:
        """Ping it, and say whether anything is heard within so many seconds."""
        ...


class Seat:
    """The place of one connection: claimed, then occupied, then perhaps lost."""

    def __init__(self, connection_id: UUID, token: TokenClaims) -> None:
        self.connection_id = connection_id
        self.token = token
        """What it was claimed with."""
        self.claim: Claim | None = None
        self.lost: CloseReason | None = None
        """Why the claim is gone; None while it is ours."""
        self._connection: Connection | None = None

    def occupy(self, connection: Connection) -> None:
        """Let the connection hear of the loss of its claim, even if that came before."""
        self._connection = connection
        if self.lost is not None:
            connection.end(self.lost)

    def lose(self, reason: CloseReason) -> None:
        """Close the connection, now or when it comes; the first reason counts."""
        if self.lost is None:
            self.lost = reason
            if self._connection is not None:
                self._connection.end(reason)

    async def answers(self, within: float) -> bool:
        """Whether the connection is alive; one that is still on its way in counts as alive."""
        if self.lost is not None:
            return False
        return self._connection is None or await self._connection.answers(within)
