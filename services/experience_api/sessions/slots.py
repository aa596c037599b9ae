"""The slot of one connection of this replica: claimed, admitted, attached, and perhaps lost. Sans-I/O."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from services.experience_api.hub.audience import Interest, Subscriber
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.heartbeat import Position, Progress
from services.experience_api.registry.notices import ConnectionDetails
from services.experience_api.registry.protocol import Claim
from services.experience_api.registry.tokens import TokenClaims
from services.experience_api.sessions.changes import Change, Wanted

GRANTED = "granted"
"""The channels of a connection change because the operator has changed what its client may read."""
REQUESTED = "requested"
"""They change because the client has asked for it."""


class Connection(Protocol):
    """What a slot needs of a live connection."""

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        """Close it; `wait` replaces the reason's own seconds to wait before reconnecting."""
        ...

    async def responds(self, timeout: float) -> bool:
        """Send a ping and return whether anything arrives within `timeout` seconds."""
        ...

    def subscribe(self, interest: Interest, reason: str) -> Awaitable[bytes | None]:
        """Receive other channels; the result is the cursor from which on it does, None if it ends before."""
        ...

    @property
    def position(self) -> Callable[[], Position] | None:
        """Returns how far it has been served; None before it is."""
        ...

    @property
    def changed_at(self) -> bytes | None:
        """The cursor from which on it receives what it does; None from its beginning."""
        ...

    def progress(self) -> Progress:
        """Measure how far its peer has got with what was written to it."""
        ...


class ConnectionSlot:
    """The slot of one connection, from before its claim until after its release."""

    subscriber: Subscriber
    """Set by the handshake, as are those that follow, before the slot is handed out."""
    cursor: str | None
    """Where to resume; None to begin at `since`."""
    since: float | None
    """When to begin in the history, in seconds since 1970; None to begin now."""
    snapshot: bool
    """Whether to begin with the latest event of each subject."""
    protocols: tuple[str, ...]
    """The WebSocket subprotocols to answer with."""
    wanted: Wanted
    """What the connection asks for, also of what is not permitted now. Set by `admit`."""

    def __init__(self, connection_id: UUID, token: TokenClaims, gone: Callable[[], bool] = lambda: False) -> None:
        """`gone` returns whether the peer has disconnected before its connection could be attached."""
        self.connection_id = connection_id
        self.gone = gone
        self.token = token
        """The token of its claim."""
        self.claim: Claim | None = None
        self.lost: CloseReason | None = None
        """Why the claim is lost; None while this slot holds it."""
        self.ended: CloseReason | None = None
        """Why its connection has ended; None before that, and for a batch that was answered."""
        self._wait: float | None = None
        self._connection: Connection | None = None
        self._granted: tuple[str, ...] | None = None
        """The channels that the client may read, if they have changed since the claim."""
        self.grants = 0
        """How often the permitted channels were set: what was read before the latest time is out of date."""
        self._outdated = False
        """Whether what the connection receives has changed before it could be attached."""

    def admit(self, claim: Claim, wanted: Wanted, subscriber: Callable[[tuple[str, ...]], Subscriber]) -> None:
        """Set the subscriber. `subscriber` returns it for the permitted channels, or refuses them."""
        self.wanted = wanted
        self.subscriber = subscriber(self._granted if self._granted is not None else claim.channels)
        self._granted = self._granted if self._granted is not None else claim.channels

    @property
    def snapshot_of(self) -> Interest | None:
        """What to begin with a snapshot of; None for none."""
        return self.subscriber.interest if self.snapshot else None

    @property
    def admitted(self) -> bool:
        """Whether the subscriber is set."""
        return hasattr(self, "subscriber")

    @property
    def permitted(self) -> tuple[str, ...]:
        """The channels that the client may read now."""
        assert self._granted is not None, "an admitted connection"
        return self._granted

    def grant(self, channels: tuple[str, ...]) -> None:
        """Permit these channels from now on, and no others. The subscriber is told if it makes a difference to it."""
        self.grants += 1
        if channels == self._granted:
            return
        self._granted = channels
        if self.admitted and self.wanted.permitted(channels) != self.subscriber.interest:
            _ = self._subscribe(GRANTED)

    def change(self, change: Change) -> Awaitable[bytes | None] | None:
        """Change what the connection asks for; the result is the cursor, and None if it is not attached yet.

        Raises:
            Refused: as `Wanted.changed`.
        """
        self.wanted = self.wanted.changed(change, self.permitted)
        return self._subscribe(REQUESTED)

    def _subscribe(self, reason: str) -> Awaitable[bytes | None] | None:
        interest = self.wanted.permitted(self.permitted)
        self.subscriber = replace(self.subscriber, interest=interest)
        if self._connection is None:
            self._outdated = True
            return None
        return self._connection.subscribe(interest, reason)

    def details(self) -> ConnectionDetails | None:
        """Describe the connection; None if it is not attached, or has lost its claim."""
        connection = self._connection
        if connection is None or connection.position is None or self.lost is not None:
            return None
        position, progress = connection.position(), connection.progress()
        return ConnectionDetails(
            self.connection_id,
            tuple(sorted(self.subscriber.interest.patterns)),
            position.cursor.decode(),
            position.lag,
            position.live,
            progress.buffered,
            progress.acknowledged,
            self.subscriber.interest.filters,
            self.subscriber.interest.conflate,
            (connection.changed_at or b"").decode(),
        )

    def attach(self, connection: Connection) -> None:
        """Attach the connection, and end it at once if the claim is already lost."""
        self._connection = connection
        if self.lost is not None:
            connection.end(self.lost, self._wait)
        elif self._outdated:
            _ = connection.subscribe(self.subscriber.interest, GRANTED)

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
