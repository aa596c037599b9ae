"""What replicas tell one another about connections, as text small enough for NOTIFY (8,000 bytes). Sans-I/O.

A notice names one connection by its id, never a client: one that comes late cannot hit the connection that came after.
"""

from enum import StrEnum
from uuid import UUID

import msgspec

from shared.errors import Malformed


class Why(StrEnum):
    """Why a connection has lost its claim."""

    REPLACED = "replaced"
    """The client registered anew: its token is another one now."""
    REMOVED = "removed"
    """The consumer was forgotten."""
    DISABLED = "disabled"
    """The client was disabled."""
    TAKEN_OVER = "taken over"
    """It did not answer in time, and the client has connected again."""


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """Close this connection: its claim is gone."""

    connection_id: UUID
    why: Why


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """Does this connection, which `node` holds, still answer? Close it if it does not."""

    connection_id: UUID
    node: str
    question: UUID


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What a probe found."""

    question: UUID
    alive: bool


Notice = Lost | Probe | Answer

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Notice).decode


def encode(notice: Notice) -> str:
    """Write a notice."""
    return _encode(notice).decode()


def decode(text: str) -> Notice:
    """Read a notice.

    Raises:
        Malformed: it is none that this release knows.
    """
    try:
        notice: Notice = _decode(text)
    except msgspec.MsgspecError as exc:
        raise Malformed(f"notice {text[:80]!r}: {exc}") from exc
    return notice
