"""What the registry stores of clients, and shows of those that have registered. Sans-I/O."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

NO_CLOSE_FRAME = 1006
REPLICA_LOST = "replica lost"
"""The code (RFC 6455, 7.4.1) and the reason of the ending of connections whose replica crashed."""


class Policy(StrEnum):
    """What happens when a client connects that has as many connections as it may have, by default one."""

    PROBE = "probe"
    """The connection that lives stays; one that does not answer a ping is replaced."""
    REJECT = "reject"
    """The connection stays until it ends by itself, or its replica is lost."""
    REPLACE = "replace"
    """The new connection replaces it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended."""

    code: int
    """Of its Close frame; 1006 if it ended without one."""
    reason: str
    """The name of its close reason."""
    lasted: float
    """Seconds that it had lasted."""
    at: datetime | None = field(default=None, compare=False)
    """When it ended; None until that is stored."""


@dataclass(frozen=True, slots=True)
class Client:
    """An application that may register."""

    client_id: str
    secret_hash: str = field(repr=False)
    channels: tuple[str, ...] = ()
    """Patterns of the channels it may subscribe to; empty permits none."""
    may_send: bool = False
    loopback_only: bool = False
    """Accepted from this machine only."""
    disabled: bool = False
    note: str = ""
    policy: Policy = Policy.PROBE
    max_connections: int = 1
    """How many connections it may have at a time."""
    previous_secret_hash: str | None = field(default=None, repr=False)
    """Of the secret before this one, while that one is valid as well."""
    previous_secret_until: datetime | None = field(default=None, compare=False)
    """Until when it is."""
    created_at: datetime | None = field(default=None, compare=False)
    tokens: int = field(default=0, compare=False)
    """How many tokens it has, of which some may have expired; 0 unless it is registered."""
    last_ending: Ending | None = field(default=None, compare=False)
    """Of its connections since it registered, that which ended last."""

    @property
    def secret_hashes(self) -> tuple[str, ...]:
        """The hashes of every secret that is valid now."""
        return (
            (self.secret_hash,) if self.previous_secret_hash is None else (self.secret_hash, self.previous_secret_hash)
        )


@dataclass(frozen=True, slots=True)
class ClientChange:
    """What to change of a client; None leaves a member as it is."""

    channels: tuple[str, ...] | None = None
    may_send: bool | None = None
    loopback_only: bool | None = None
    note: str | None = None
    policy: Policy | None = None
    max_connections: int | None = None

    @property
    def members(self) -> dict[str, Any]:
        """The members that change, by name."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def needs_reconnection(self, *, may_send: bool, loopback_only: bool) -> bool:
        """Return whether connections were admitted with another permission than the client has now.

        Given is what it had before.
        """
        return self.may_send not in {None, may_send} or (self.loopback_only is True and not loopback_only)


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection whose node is alive."""

    connection_id: UUID
    node: str
    remote: str
    """The address that it comes from."""
    since: datetime = field(compare=False)


@dataclass(frozen=True, slots=True)
class Consumer:
    """A registered client."""

    client_id: str
    registered_at: datetime = field(compare=False)
    last_seen_at: datetime = field(compare=False)
    """When it was connected last, if it is not now."""
    connections: tuple[Connected, ...] = ()
    last_ending: Ending | None = None
    """Of the connection that ended last."""
    tokens: int = field(default=1, compare=False)
    """How many tokens it has, of which some may have expired."""
