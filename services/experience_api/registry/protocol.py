"""What a registry promises. Each sentence that promises something is a test in `tests/contracts/registry/`.

Instants are the database's own, so that replicas agree. Where a write takes a claim away from a live connection, the
replica that holds it is told by a notice, and only if the write took effect.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

from services.experience_api.refusals import Refusal
from services.experience_api.registry.notices import Notice
from services.experience_api.tokens import SigningKey, TokenClaims


@dataclass(frozen=True, slots=True)
class Client:
    """An application that may register."""

    client_id: str
    secret_hash: str = field(repr=False)
    channels: tuple[str, ...] = ()
    """Patterns of the channels it may subscribe to; none permits none."""
    may_send: bool = False
    loopback_only: bool = False
    """Accepted from this machine only, whatever its secret."""
    disabled: bool = False
    note: str = ""


class Node(NamedTuple):
    """A replica, for as long as it holds the lease `node/<name>` under this epoch."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody with a genuine token wants to be a client's one connection."""

    claims: TokenClaims
    connection_id: UUID
    """Made for this attempt, and never used again."""
    node: Node
    remote: str
    loopback: bool
    good_for_days: float
    """How long after its last connection a token is good."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to be a client's one connection, until it is released or lost."""

    client_id: str
    connection_id: UUID
    epoch: int
    """Grows with each claim that displaces another."""
    channels: tuple[str, ...]
    may_send: bool


@dataclass(frozen=True, slots=True)
class Held:
    """Another connection has the claim, and its node is alive."""

    connection_id: UUID
    node: str


class Clients(Protocol):
    """Applications and their secrets."""

    async def add(self, client: Client) -> bool:
        """Keep a new client; False, and nothing changed, where the id is taken."""
        ...

    async def find(self, client_id: str) -> Client | None:
        """Return a client as it is now."""
        ...

    async def all(self) -> list[Client]:
        """Return every client, by id."""
        ...

    async def disable(self, client_id: str) -> bool:
        """Let it neither register nor connect; its connection is told `DISABLED`. False where there is no such client.

        Its consumer and token are kept, for when it is enabled again.
        """
        ...

    async def enable(self, client_id: str) -> bool:
        """Undo `disable`. False where there is no such client."""
        ...


class Consumers(Protocol):
    """Registered clients."""

    async def register(self, claims: TokenClaims) -> None:
        """Make this the client's one token; a connection with an older one loses its claim and is told `REPLACED`.

        Raises:
            Refused: `WRONG_CREDENTIALS`: the client is gone, or disabled by now.
        """
        ...

    async def forget(self, client_id: str) -> bool:
        """Make its token worthless; its connection is told `REMOVED`. False where it was not registered."""
        ...


class Keys(Protocol):
    """What signs tokens, where the settings name no key."""

    async def signing_key(self, fresh: SigningKey) -> SigningKey:
        """Return the key that all replicas share: `fresh`, if there is none yet, which is kept then."""
        ...


class Connections(Protocol):
    """The one connection of each consumer."""

    async def claim(self, wish: Wish, instead_of: UUID | None = None) -> Claim | Held:
        """Claim, in one atomic step: of any number that try at once, on any node, one succeeds.

        Succeeds where nobody holds the claim, where its holder's node has lost its lease, or where the holder is
        `instead_of`, a connection known not to answer, which is then told `TAKEN_OVER`.

        Raises:
            Refused: `TOKEN_REFUSED`, not the client's token any more; `TOKEN_EXPIRED`; `CLIENT_DISABLED`;
                `LOOPBACK_ONLY`; `UNAVAILABLE`, our own node's lease is lost.
        """
        ...

    async def invalid(self, tokens: Sequence[TokenClaims], good_for_days: float) -> dict[TokenClaims, Refusal]:
        """Return those of these tokens that `claim` would refuse now, and how.

        With `TOKEN_REFUSED`, `CLIENT_DISABLED` or `TOKEN_EXPIRED`.
        """
        ...

    async def release(self, client_id: str, connection_id: UUID) -> None:
        """Give a claim back, if it is still this connection's; the days its token is good begin now."""
        ...

    async def held_by(self, node: Node) -> dict[UUID, str]:
        """Return the claims of a node: connection id to client id."""
        ...

    async def settle(self) -> int:
        """Release what nodes that died have left behind, and return how much it was.

        Without it nothing is wrong: dead claims bind nobody, and the lease of a dead node still tells when its
        consumers were last connected.
        """
        ...


Hear = Callable[[Notice | None], None]
"""Takes one notice, or None: any number of them may have been missed."""


class Notices(Protocol):
    """Replicas telling one another."""

    @property
    def trouble(self) -> str | None:
        """Why nothing is heard at the moment; None while it is."""
        ...

    async def tell(self, notice: Notice) -> None:
        """Tell every replica that hears at the moment, ourselves too."""
        ...

    def hearing(self, hear: Hear) -> AbstractAsyncContextManager[None]:
        """Hear what is told for as long as the context lasts, in the order in which it took effect.

        `hear` is called with None once hearing has begun, and whenever it has begun again.
        """
        ...


class Registry(Clients, Consumers, Keys, Connections, Notices, Protocol):
    """All of it."""
