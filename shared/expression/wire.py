"""Messages between this process and the one that evaluates expressions apart: lengths, then bytes. Sans-I/O.

A request holds the expression, the root and the value of `$event`; a response holds what became of it.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

_REQUEST = struct.Struct("!III")
_RESPONSE = struct.Struct("!BI")

REQUEST_HEAD, RESPONSE_HEAD = _REQUEST.size, _RESPONSE.size


class Kind(IntEnum):
    """What became of an evaluation."""

    UNDEFINED = 0
    VALUE = 1
    FAILED = 2
    TIMED_OUT = 3
    READY = 4
    """The process has started; it says so once, before the first request."""


class Request(NamedTuple):
    """An evaluation."""

    expression: bytes
    data: bytes | None
    event: bytes | None
    """JSON text."""


def request(given: Request) -> bytes:
    """Return the bytes of a request. A part that is absent has the length 0, any other one more than its length."""
    data, event = given.data, given.event
    head = _REQUEST.pack(
        len(given.expression), 0 if data is None else len(data) + 1, 0 if event is None else len(event) + 1
    )
    return head + given.expression + (data or b"") + (event or b"")


def request_size(head: bytes) -> int:
    """Return how many bytes follow the head of a request."""
    expression, data, event = _REQUEST.unpack(head)
    return int(expression + max(0, data - 1) + max(0, event - 1))


def parse_request(head: bytes, body: bytes) -> Request:
    """Return the request of a head and the bytes behind it."""
    expression, data, event = _REQUEST.unpack(head)
    at = expression + max(0, data - 1)
    return Request(body[:expression], body[expression:at] if data else None, body[at:] if event else None)


def response(kind: Kind, content: bytes) -> bytes:
    """Return the bytes of a response."""
    return _RESPONSE.pack(kind, len(content)) + content


def parse_response(received: bytes | bytearray) -> tuple[Kind, bytes] | None:
    """Return a response, None while bytes are missing."""
    if len(received) < RESPONSE_HEAD:
        return None
    kind, size = _RESPONSE.unpack_from(received)
    if len(received) < RESPONSE_HEAD + size:
        return None
    return Kind(kind), bytes(received[RESPONSE_HEAD : RESPONSE_HEAD + size])
