"""The slot of one connection of this replica: claimed, admitted, attached, and perhaps lost. Sans-I/O."""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.registry.protocol import Claim
from services.experience_api.registry.tokens import TokenClaims


class Connection(Protocol):
    """What a slot needs of a live connection."""

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        """Close it; `wait` replaces the reason's own seconds to wait before reconnecting."""
        ...

    async def responds(self, timeout: float) -> bool:
        """Send a ping and return whether anything arrives within `timeout` seconds."""
        ...


class ConnectionSlot:
    """The slot of one connection, from before its claim until after its release."""

    subscriber: Subscriber
    """Set by the handshake, as are `cursor`, `since` and `protocols`, before the slot is handed out."""
    cursor: str | None
    """Where to resume; None to begin at `since`."""
    since: float | None
    """When to begin in the history, in seconds since 1970; None to begin now."""
    protocols: tuple[str, ...]
    """The WebSocket subprotocols to answer with."""

    def __init__(self, connection_id: UUID, token: TokenClaims, gone: Callable[[], bool] = lambda: False) -> None:
        """`gone` returns whether the peer has disconnected before its connection could be attached."""
        self.connection_id = connection_id
        self.gone = gone
        self.token = token
        """The token of its claim."""
        self.claim: Claim | None = None
        self.lost: CloseReason | None = None
        """Why the claim is lost; None while this slot holds it."""
        self._wait: float | None = None
        self._connection: Connection | None = None

    def attach(self, connection: Connection) -> None:
        """Attach the connection, and end it at once if the claim is already lost."""
        self._connection = connection
        if self.lost is not None:
            connection.end(self.lost, self._wait)

    def lose(self, reason: CloseReason, wait: float | None = None) -> None:
        """End the connection, now or when it is attached. The first reason counts.

        `wait` replaces the reason's own seconds to wait before reconnecting.
        """
        if self.lost is None:
            self.lost, self._wait = reason, wait
            if self._connection is not None:
                self._connection.end(reason, wait)

    async def responds(self, timeout: float) -> bool:
        """Return whether the connection is alive. One that is not attached yet is, until its peer has disconnected."""
        if self.lost is not None:
            return False
        if self._connection is None:
            return not self.gone()
        return await self._connection.responds(timeout)
