"""The guarantees of a registry. Each sentence that states one is a test in `tests/contracts/registry/`.

Times are the database's own, so that replicas agree. If a write takes the claim of a live connection away, the replica
that holds it receives a notice, and only if the write took effect.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from services.experience_api.refusals import Refusal
from services.experience_api.registry.clients import Client, ClientChange, Consumer, Ending, Policy
from services.experience_api.registry.notices import Notice
from services.experience_api.registry.tokens import SigningKey, TokenClaims


class Node(NamedTuple):
    """A replica, while it holds the lease `node/<name>` under this epoch."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Held:
    """Other connections hold the claims of the client, as many as it may have, and their nodes are alive."""

    connection_id: UUID
    node: str
    remote: str = field(default="", compare=False)
    """The address that it comes from."""
    since: datetime | None = field(default=None, compare=False)
    policy: Policy = field(default=Policy.PROBE, compare=False)
    """That of its client."""
    max_connections: int = field(default=1, compare=False)
    """How many connections the client may have."""
    others: tuple["Held", ...] = field(default=(), compare=False)
    """The other connections of the client; this one is the oldest."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to be a connection of a client, until it is released or lost."""

    client_id: str
    connection_id: UUID
    epoch: int
    """Grows with each claim that displaces another."""
    channels: tuple[str, ...]
    may_send: bool
    displaced: Held | None = None
    """The connection that held the claim before and has not released it; its node may not know yet."""
    max_connections: int = field(default=1, compare=False)
    """How many connections the client may have."""


class Clients(Protocol):
    """Applications and their secrets."""

    async def add(self, client: Client) -> bool:
        """Store a new client. Returns False and changes nothing if the id exists."""
        ...

    async def find(self, client_id: str) -> Client | None:
        """Return a client as it is now."""
        ...

    async def page(self, after: str = "", limit: int | None = None) -> list[Client]:
        """Return the clients whose ids are after `after`, by id; at most `limit` of them."""
        ...

    async def change(self, client_id: str, change: ClientChange) -> bool:
        """Change a client. Its connection receives `GrantChanged` if its channels change.

        It ends with `DISCONNECTED` if the client may or may not send from now on, or is accepted from this machine
        only: its next one has that permission. If it may have fewer connections, those that are too many end with
        `DISCONNECTED`: the newest, and with the policy `REPLACE` the oldest. The rest holds for the next one as well.

        Returns False if there is no such client.
        """
        ...

    async def rotate(self, client_id: str, secret_hash: str, overlap: float) -> bool:
        """Replace the secret of a client. The one before remains valid for `overlap` seconds, and none before that one.

        Tokens and connections stay. Returns False if there is no such client.
        """
        ...

    async def channels(self, client_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the channels that these clients may subscribe to; unknown clients are left out."""
        ...

    async def disable(self, client_id: str) -> bool:
        """Refuse a client's registrations and connections; its connection ends with `DISABLED`.

        Its consumer and token are kept for when it is enabled again, and the days that the token is valid begin now if
        it was connected. Returns False if there is no such client.
        """
        ...

    async def enable(self, client_id: str) -> bool:
        """Undo `disable`. Returns False if there is no such client."""
        ...

    async def remove(self, client_id: str) -> bool:
        """Delete a client with its consumer and token; its connection ends with `REMOVED`.

        Returns False if there is no such client.
        """
        ...


class Consumers(Protocol):
    """Registered clients."""

    async def register(self, claims: TokenClaims, overlap: float = 0.0, *, secret_hash: str | None = None) -> None:
        """Make this the client's only token. A connection with an older one ends with `REPLACED`.

        With an `overlap`, the token before this one remains valid for so many seconds, and its connection as well.

        Of a client that may have several connections, this is the newest of several tokens, and no connection ends.
        Those that connections use remain valid, and of the others the last used: as many, with this one, as it may have
        connections, or 10 if that is more. Each is valid for the days after its own last connection, and the newest for
        those after any of them.

        `secret_hash` is the one that the client had when its secret was compared.

        Raises:
            Refused: `WRONG_CREDENTIALS`: the client was removed or disabled meanwhile, or its secret was replaced.
        """
        ...

    async def end_overlaps(self) -> int:
        """End the connections whose tokens were replaced and whose overlap is over, with `REPLACED`.

        Returns how many overlaps were over. The tokens themselves are refused from that moment on anyway.
        """
        ...

    async def consumers(
        self, after: str = "", limit: int | None = None, client_id: str | None = None
    ) -> list[Consumer]:
        """Return the registered clients whose ids are after `after`, by id, or one of them; at most `limit`."""
        ...

    async def unregister(self, client_id: str) -> bool:
        """Invalidate the client's token; its connection ends with `REMOVED`. Returns False if it was not registered."""
        ...


class Tickets(Protocol):
    """Tickets that were used. Each can be used once, on whichever replica, and by the clock of the registry."""

    async def time(self) -> float:
        """Return the time in seconds since 1970."""
        ...

    async def use_ticket(self, ticket_hash: bytes, expires: float) -> bool:
        """Note that a ticket is used; return False if it was used before, or has expired.

        `expires` is in seconds since 1970.
        """
        ...


class Keys(Protocol):
    """The key that signs tokens if the settings name none."""

    async def signing_key(self, fresh: SigningKey) -> SigningKey:
        """Return the key that all replicas share. If there is none yet, store `fresh`."""
        ...


class Connections(Protocol):
    """The connections of each consumer: one, unless its client may have several."""

    async def claim(
        self,
        claims: TokenClaims,
        connection_id: UUID,
        node: Node,
        *,
        remote: str,
        loopback: bool,
        good_for_days: float,
        instead_of: UUID | None = None,
    ) -> Claim | Held:
        """Claim to be a connection of the client, in one atomic step. By default a client has one.

        Succeeds if fewer connections hold a claim than the client may have, those not counted whose node has lost its
        lease: of concurrent claims on any nodes exactly so many succeed. Succeeds as well in the place of `instead_of`,
        a connection known not to answer, which then ends with `TAKEN_OVER`. `connection_id` is new for each attempt.
        `good_for_days` is how long a token is valid after its last connection.

        Raises:
            Refused: `TOKEN_REFUSED`, not the client's current token; `TOKEN_EXPIRED`; `CLIENT_DISABLED`;
                `LOOPBACK_ONLY`; `UNAVAILABLE`, the lease of `node` is lost.
        """
        ...

    async def invalid(self, tokens: Sequence[TokenClaims], good_for_days: float) -> dict[TokenClaims, Refusal]:
        """Return the tokens that `claim` would refuse now, each with its refusal.

        The refusals are `TOKEN_REFUSED`, `CLIENT_DISABLED` and `TOKEN_EXPIRED`.
        """
        ...

    async def release(self, client_id: str, connection_id: UUID, ending: Ending | None = None) -> None:
        """Release a claim if this connection still holds it. The days its token is valid begin now.

        With an `ending`, that is the last one of the client from then on. The ending of a connection whose node is dead
        is 1006, from when its claim is released or taken by another.
        """
        ...

    async def note_ending(self, client_id: str, ending: Ending) -> None:
        """Store the last ending of a client: that of a connection which had lost its claim before."""
        ...

    async def disconnect(self, connection_id: UUID) -> str | None:
        """Take its claim away from a connection, which ends with `DISCONNECTED`.

        Returns the client that it is of; None if there is no such connection.
        """
        ...

    async def held_by(self, node: Node) -> dict[UUID, str]:
        """Return the claims of a node: connection id to client id."""
        ...

    async def holder(self, client_id: str, connection_id: UUID) -> str | None:
        """Return the name of the node that holds a connection of a client; None if there is no such connection."""
        ...

    async def at_limit(self, client_ids: Sequence[str]) -> set[str]:
        """Return which of these clients have as many connections as they may have: claims whose nodes are alive."""
        ...

    async def release_dead(self, after: float = 0.0) -> int:
        """Release the claims of nodes that have been dead for `after` seconds, and return how many there were.

        Correctness does not depend on it: such claims block no other, and the lease of a dead node still tells when
        its consumers were last connected.
        """
        ...


OnNotice = Callable[[Notice | None], None]
"""Takes one notice. None means that any number of notices may have been missed."""


class Notices(Protocol):
    """Messages between replicas."""

    @property
    def problem(self) -> str | None:
        """Why no notices arrive at the moment; None if they do."""
        ...

    async def take_notices(self, node: Node) -> list[Notice]:
        """Return the notices about connections of a node that it has not taken yet, oldest first.

        Those that took a claim away were sent as well, and usually received. The others come in this way only.
        """
        ...

    async def leave(self, node: str, notice: Notice) -> None:
        """Keep a notice for a node until it takes it, and send it `Look`."""
        ...

    async def notify(self, notice: Notice) -> None:
        """Send a notice to every replica that listens at the moment, this one included."""
        ...

    def listening(self, on_notice: OnNotice) -> AbstractAsyncContextManager[None]:
        """Receive notices while the context is open, in the order in which they took effect.

        `on_notice` is called with None once listening has begun, and each time it has begun again.
        """
        ...


class Registry(Clients, Consumers, Tickets, Keys, Connections, Notices, Protocol):
    """All of these."""
