"""Every way a connection ends, as data that says whether the client should reconnect.

4000 to 4499: reconnect, after the wait that the reason names in seconds (`draining; wait=2.5`). 4500 to 4999: do not
reconnect until something has changed. Below 4000 are the codes that RFC 6455, 7.4.1 defines.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CloseReason:
    """One reason why a connection ends."""

    code: int
    name: str
    wait: float | None = None
    """Seconds to wait before reconnecting, at least; None if reconnecting would end the same way."""

    @property
    def reconnect(self) -> bool:
        """Whether the subscriber should reconnect although nothing has changed."""
        return self.wait is not None

    @property
    def label(self) -> str:
        """The name as a metric label."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower())

    def text(self, wait: float | None = None) -> str:
        """Return the reason of the Close frame. `wait` replaces the default wait."""
        wait = self.wait if wait is None else wait
        return self.name if wait is None else f"{self.name}; wait={wait:.1f}"


DRAINING = CloseReason(4000, "draining", wait=1.0)
"""This replica is shutting down; another one will answer."""
TOO_SLOW = CloseReason(4001, "too slow", wait=1.0)
"""The subscriber read nothing of its buffered events for a while. Its cursor resumes without loss."""
NO_PONG = CloseReason(4002, "no pong", wait=0.0)
"""Nothing was received for a whole heartbeat, and the subscriber had nothing left to read. One that answers heartbeats
has left two in a row unanswered."""
INTERNAL = CloseReason(4003, "internal error", wait=5.0)
"""The server failed; its log has the reason."""
CLAIM_LOST = CloseReason(4004, "claim lost", wait=1.0)
"""This replica may no longer hold the connection: another process has its lease."""
ALREADY_CONNECTED = CloseReason(4005, "already connected", wait=2.0)
"""Another connection of the client lives. Sent to scripts, which cannot read the refusal of an upgrade."""
UNAVAILABLE = CloseReason(4006, "unavailable", wait=2.0)
"""The service, or what it depends on, cannot serve now. Sent to scripts, and when a message could not be stored."""
DISCONNECTED = CloseReason(4007, "disconnected by an operator", wait=1.0)
"""An operator has ended the connection. The client may connect again."""

MAY_NOT_SEND = CloseReason(4500, "consumers may not send")
REPLACED = CloseReason(4501, "replaced by a new registration")
"""The client registered again, which invalidated the token of this connection."""
TAKEN_OVER = CloseReason(4502, "taken over by another connection")
"""This connection did not answer a ping when another one of the same client arrived."""
REMOVED = CloseReason(4503, "consumer removed")
DISABLED = CloseReason(4504, "client disabled")
TOKEN_REFUSED = CloseReason(4505, "token refused")
TOKEN_EXPIRED = CloseReason(4506, "token expired")
TOO_MANY_PINGS = CloseReason(4507, "too many pings")
"""Empty frames are cheap to send and cost every other subscriber the time to process them."""
NOT_PERMITTED = CloseReason(4508, "not permitted")
"""The client may not connect from here, or not subscribe to a channel. Sent to scripts."""
MALFORMED = CloseReason(4509, "malformed request")
"""A parameter of the request is invalid. Sent to scripts."""

PROTOCOL_ERROR = CloseReason(1002, "protocol error")
NOT_UTF8 = CloseReason(1007, "invalid UTF-8")
TOO_BIG = CloseReason(1009, "message too big")
LEFT = CloseReason(1000, "closed by client", wait=0.0)
"""The subscriber closed the connection itself."""
LOST = CloseReason(1006, "connection lost", wait=0.0)
"""The connection broke without a Close frame. Never sent."""

ALL = (
    DRAINING,
    TOO_SLOW,
    NO_PONG,
    INTERNAL,
    CLAIM_LOST,
    ALREADY_CONNECTED,
    UNAVAILABLE,
    DISCONNECTED,
    MAY_NOT_SEND,
    REPLACED,
    TAKEN_OVER,
    REMOVED,
    DISABLED,
    TOKEN_REFUSED,
    TOKEN_EXPIRED,
    TOO_MANY_PINGS,
    NOT_PERMITTED,
    MALFORMED,
    PROTOCOL_ERROR,
    NOT_UTF8,
    TOO_BIG,
    LEFT,
    LOST,
)

_by_code = {reason.code: reason for reason in ALL}


def of_protocol_error(code: int) -> CloseReason:
    """Return the reason for an error in the peer's frames."""
    return _by_code.get(code, PROTOCOL_ERROR)
