"""Messages between replicas about connections, as text small enough for NOTIFY (8,000 bytes). Sans-I/O.

A notice names one connection by its id, never a client, so a late one cannot affect the next connection of the client.
"""

from enum import StrEnum
from uuid import UUID

import msgspec

from shared.errors import Malformed


class LossReason(StrEnum):
    """Why a connection lost its claim."""

    REPLACED = "replaced"
    """The client registered again, which replaced its token."""
    REMOVED = "removed"
    """The consumer was removed."""
    DISABLED = "disabled"
    """The client was disabled."""
    TAKEN_OVER = "taken_over"
    """The connection did not answer in time, and the client connected again."""
    DISCONNECTED = "disconnected"
    """An operator has ended the connection. The client may connect again."""


class ClaimLost(msgspec.Struct, frozen=True, tag="claim_lost"):
    """The connection lost its claim: close it."""

    connection_id: UUID
    reason: LossReason


class GrantChanged(msgspec.Struct, frozen=True, tag="grant_changed"):
    """The client of the connection may read these channels from now on."""

    connection_id: UUID
    channels: tuple[str, ...]


class SubscriptionRequest(msgspec.Struct, frozen=True, tag="subscription_request"):
    """A request of the connection's client to change what it receives."""

    connection_id: UUID
    request_id: UUID
    reply_to: str
    """The node that waits for the result."""
    channels: tuple[str, ...] | None
    subscribe: tuple[str, ...]
    unsubscribe: tuple[str, ...]
    filters: dict[str, str | None] = msgspec.field(default_factory=dict)
    conflate: str | msgspec.UnsetType | None = msgspec.UNSET


class SubscriptionResult(msgspec.Struct, frozen=True, tag="subscription_result"):
    """The result of a `SubscriptionRequest`."""

    request_id: UUID
    channels: tuple[str, ...] = ()
    cursor: str = ""
    """From which on the channels hold; empty if they do not."""
    refusal: str = ""
    """The code of the refusal; empty if there is none."""
    detail: str = ""


class ConnectionDetails(msgspec.Struct, frozen=True):
    """What the replica that holds a connection knows of it."""

    connection_id: UUID
    channels: tuple[str, ...]
    cursor: str
    """Up to which everything has been written to its outbox."""
    lag: int
    """Records on the publish topic that it has still to be served, whether it subscribes to them or not."""
    live: bool
    """Whether it has caught up."""
    buffered: int
    """Bytes that wait for it in this replica."""
    acknowledged: int | None
    """Bytes that its kernel, or that of a proxy, has acknowledged since the connection was opened."""
    filters: dict[str, str] = {}
    """Its predicates by pattern."""
    conflate: float = 0.0
    """Seconds of its conflation; 0 for none."""
    changed: str = ""
    """The cursor from which on it receives this; empty if it has from its beginning."""


class DetailsRequest(msgspec.Struct, frozen=True, tag="details_request"):
    """A question to the replica that takes it: what does it know of these connections?"""

    request_id: UUID
    reply_to: str
    """The node that waits for the result."""
    connections: tuple[UUID, ...]


class DetailsResult(msgspec.Struct, frozen=True, tag="details_result"):
    """The answer to a `DetailsRequest`."""

    request_id: UUID
    details: tuple[ConnectionDetails, ...]


class Look(msgspec.Struct, frozen=True, tag="look"):
    """Notices for the replica `node` are stored: they may be larger than this one, or must be acted on once."""

    node: str


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """A question to the replica `node`: does a connection still answer?"""

    connection_id: UUID
    node: str
    probe_id: UUID


class ProbeResult(msgspec.Struct, frozen=True, tag="probe_result"):
    """The answer to a probe."""

    probe_id: UUID
    alive: bool


Notice = (
    ClaimLost
    | GrantChanged
    | SubscriptionRequest
    | SubscriptionResult
    | DetailsRequest
    | DetailsResult
    | Look
    | Probe
    | ProbeResult
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Notice).decode


def encode(notice: Notice) -> str:
    return _encode(notice).decode()


def decode(text: str) -> Notice:
    """Decode a notice.

    Raises:
        Malformed: it is not a notice that this release knows.
    """
    try:
        notice: Notice = _decode(text)
    except msgspec.MsgspecError as exc:
        raise Malformed(f"notice {text[:80]!r}: {exc}") from exc
    return notice
