"""Every way a request is refused, as data: the status, a stable code, and what it means.

A subscriber's program reads the code; a person reads the detail. Browsers show neither the status nor the body of a
failed upgrade to their scripts: those learn the reason from `POST /consumers`, or not at all.
"""

from dataclasses import dataclass

from shared.errors import TrelayError


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal."""

    status: int
    code: str
    """Stable: programs decide by it."""
    title: str


WRONG_CREDENTIALS = Refusal(401, "wrong-credentials", "The client id and secret were not accepted")
TOKEN_MISSING = Refusal(401, "token-missing", "No token was sent")
TOKEN_REFUSED = Refusal(401, "token-refused", "The token is not valid: register again")
TOKEN_EXPIRED = Refusal(401, "token-expired", "The token has not been used for too long: register again")
CLIENT_DISABLED = Refusal(403, "client-disabled", "The client is disabled")
LOOPBACK_ONLY = Refusal(403, "loopback-only", "The client is accepted on the loopback only")
CHANNEL_NOT_PERMITTED = Refusal(403, "channel-not-permitted", "The client may not subscribe to a channel it asked for")
ADDRESS_NOT_ALLOWED = Refusal(403, "address-not-allowed", "The address is not on the allow list")
ALREADY_CONNECTED = Refusal(409, "already-connected", "The client is connected already")
MALFORMED = Refusal(400, "malformed", "The request cannot be understood")
TOO_SLOW = Refusal(408, "too-slow", "The request took too long to arrive")
TOO_LARGE = Refusal(413, "too-large", "The request is too large")
UNSUPPORTED_TYPE = Refusal(415, "unsupported-type", "The content type is not supported")
UPGRADE_REQUIRED = Refusal(426, "upgrade-required", "This is a WebSocket endpoint (RFC 6455, version 13)")
TOO_MANY_ATTEMPTS = Refusal(429, "too-many-attempts", "Too many attempts: wait")
BUSY = Refusal(503, "busy", "Too many requests are under way: wait")
DRAINING = Refusal(503, "draining", "This replica is leaving: connect again")
UNAVAILABLE = Refusal(503, "unavailable", "Something this service needs does not answer: wait")

ALL = (
    WRONG_CREDENTIALS,
    TOKEN_MISSING,
    TOKEN_REFUSED,
    TOKEN_EXPIRED,
    CLIENT_DISABLED,
    LOOPBACK_ONLY,
    CHANNEL_NOT_PERMITTED,
    ADDRESS_NOT_ALLOWED,
    ALREADY_CONNECTED,
    MALFORMED,
    TOO_SLOW,
    TOO_LARGE,
    UNSUPPORTED_TYPE,
    UPGRADE_REQUIRED,
    TOO_MANY_ATTEMPTS,
    BUSY,
    DRAINING,
    UNAVAILABLE,
)


class Refused(TrelayError):
    """A request that is answered with a refusal. The detail is for its sender and holds no secret."""

    def __init__(self, refusal: Refusal, detail: str = "", *, retry_after: float | None = None) -> None:
        """Refuse; `retry_after` is the seconds to wait before another try makes sense."""
        super().__init__(f"{refusal.code}: {detail or refusal.title}")
        self.refusal = refusal
        self.detail = detail
        self.retry_after = retry_after

    def members(self) -> dict[str, str]:
        """Return the members of the problem details beside status and detail (RFC 9457)."""
        return {
            "type": f"urn:trelay:problem:{self.refusal.code}",
            "title": self.refusal.title,
            "code": self.refusal.code,
        }

    @property
    def sentence(self) -> str:
        """What to tell the sender."""
        return self.detail or self.refusal.title
