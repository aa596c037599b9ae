"""Every way a connection ends, as data that says whether to come back.

4000 to 4499: come back, after the wait that the reason names in seconds (`draining; wait=2.5`). 4500 to 4999: do not,
until something has changed. Below 4000 are the codes of RFC 6455, 7.4.1, for what that standard has a word for.
"""

from dataclasses import dataclass

REASON_LIMIT = 123
"""Bytes: what a Close frame has room for beside the code (RFC 6455, 5.5)."""

COME_BACK = range(4000, 4500)
STAY_AWAY = range(4500, 5000)


@dataclass(frozen=True, slots=True)
class CloseReason:
    """One kind of ending."""

    code: int
    name: str
    wait: float | None = None
    """Seconds after which to come back, at the earliest; None where it would end the same way."""

    @property
    def come_back(self) -> bool:
        """Whether the subscriber should connect again without anything having changed."""
        return self.wait is not None

    def text(self, wait: float | None = None) -> str:
        """Return what the Close frame says; a wait that is given replaces the usual one."""
        wait = self.wait if wait is None else wait
        return self.name if wait is None else f"{self.name}; wait={wait:.1f}"


DRAINING = CloseReason(4000, "draining", wait=1.0)
"""This replica leaves; another one will answer."""
TOO_SLOW = CloseReason(4001, "too slow", wait=1.0)
"""What waited for the subscriber did not drain in time. Its cursor brings it what it has not read."""
NO_PONG = CloseReason(4002, "no pong", wait=0.0)
"""Nothing was heard for a whole heartbeat."""
INTERNAL = CloseReason(4003, "internal error", wait=5.0)
"""A fault of ours; the log has it."""
CLAIM_LOST = CloseReason(4004, "claim lost", wait=1.0)
"""This replica may not hold the connection any more: its lease has expired."""

MAY_NOT_SEND = CloseReason(4500, "consumers may not send")
REPLACED = CloseReason(4501, "replaced by a new registration")
"""Another token was issued to the client; this connection's is worth nothing now."""
TAKEN_OVER = CloseReason(4502, "taken over by another connection")
"""This one did not answer a ping when another of the same client came."""
REMOVED = CloseReason(4503, "consumer removed")
DISABLED = CloseReason(4504, "client disabled")
TOKEN_REFUSED = CloseReason(4505, "token refused")
TOKEN_EXPIRED = CloseReason(4506, "token expired")
TOO_MANY_PINGS = CloseReason(4507, "too many pings")
"""Frames with nothing in them cost their sender next to nothing, and everybody else the time to answer them."""

PROTOCOL_ERROR = CloseReason(1002, "frames against RFC 6455")
NOT_UTF8 = CloseReason(1007, "text that is not UTF-8")
TOO_BIG = CloseReason(1009, "message above the limit")
LEFT = CloseReason(1000, "left", wait=0.0)
"""The subscriber closed the connection itself."""
LOST = CloseReason(1006, "connection lost", wait=0.0)
"""The connection broke; nothing could be said. Never sent."""

ALL = (
    DRAINING,
    TOO_SLOW,
    NO_PONG,
    INTERNAL,
    CLAIM_LOST,
    MAY_NOT_SEND,
    REPLACED,
    TAKEN_OVER,
    REMOVED,
    DISABLED,
    TOKEN_REFUSED,
    TOKEN_EXPIRED,
    TOO_MANY_PINGS,
    PROTOCOL_ERROR,
    NOT_UTF8,
    TOO_BIG,
    LEFT,
    LOST,
)

_by_code = {reason.code: reason for reason in ALL}


def of_fault(code: int) -> CloseReason:
    """Return what a fault in the peer's frames is called."""
    return _by_code.get(code, PROTOCOL_ERROR)
