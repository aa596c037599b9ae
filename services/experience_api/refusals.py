"""Every reason for which a request is refused, as data: the status, a stable code, and what it means.

Programs read the code, people read the detail. Browsers show neither the status nor the body of a failed upgrade to
scripts.
"""

import math
from dataclasses import dataclass

from shared.errors import ProblemError


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason for a refusal."""

    status: int
    code: str
    """Stable, for programs."""
    title: str
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the response, such as `Retry-After`."""

    @property
    def label(self) -> str:
        """The code as a metric label."""
        return self.code.replace("-", "_")


def _challenge(value: str) -> tuple[tuple[str, str], ...]:
    """Return the header that RFC 9110, 15.5.2 requires with 401."""
    return (("WWW-Authenticate", value),)


_BASIC = _challenge('Basic realm="trelay", charset="UTF-8"')
_BEARER = 'Bearer realm="trelay"'
_INVALID_TOKEN = f'{_BEARER}, error="invalid_token"'


WRONG_CREDENTIALS = Refusal(401, "wrong-credentials", "The client id and secret were not accepted", _BASIC)
CREDENTIALS_MISSING = Refusal(401, "credentials-missing", "No client id and secret were sent", _BASIC)
TOKEN_MISSING = Refusal(401, "token-missing", "No token was sent", _challenge(_BEARER))
TOKEN_REFUSED = Refusal(401, "token-refused", "The token is not valid: register again", _challenge(_INVALID_TOKEN))
TOKEN_EXPIRED = Refusal(
    401,
    "token-expired",
    "The token has not been used for too long: register again",
    _challenge(f'{_INVALID_TOKEN}, error_description="expired"'),
)
TICKET_REFUSED = Refusal(401, "ticket-refused", "The ticket is not valid: get another one", _challenge(_BEARER))
CLIENT_DISABLED = Refusal(403, "client-disabled", "The client is disabled")
LOOPBACK_ONLY = Refusal(403, "loopback-only", "The client is accepted from the loopback address only")
CHANNEL_NOT_PERMITTED = Refusal(403, "channel-not-permitted", "The client may not subscribe to a requested channel")
ADDRESS_NOT_ALLOWED = Refusal(403, "address-not-allowed", "The address is not on the allow list")
PRODUCER_REFUSED = Refusal(
    401,
    "producer-refused",
    "The credentials of the producer were not accepted",
    _challenge('Bearer realm="trelay entity"'),
)
PUBLISHING_NOT_PERMITTED = Refusal(
    403, "publishing-not-permitted", "The producer may not publish to a channel of the request"
)
ORIGIN_NOT_ALLOWED = Refusal(403, "origin-not-allowed", "Pages of this origin are not allowed")
ALREADY_CONNECTED = Refusal(409, "already-connected", "The client is already connected")
PUSH_IN_PROGRESS = Refusal(409, "push-in-progress", "Another push with the same idempotency key is in progress")
KEY_REUSED = Refusal(422, "idempotency-key-reused", "The idempotency key was used for another push")
MALFORMED = Refusal(400, "malformed", "The request cannot be understood")
NOT_CONNECTED = Refusal(404, "not-connected", "The client has no such connection")
TOO_SLOW = Refusal(408, "too-slow", "The request stopped to arrive")
TOO_LARGE = Refusal(413, "too-large", "The request is too large")
UNSUPPORTED_TYPE = Refusal(415, "unsupported-type", "The content type is not supported")
UPGRADE_REQUIRED = Refusal(
    426,
    "upgrade-required",
    "This is a WebSocket endpoint (RFC 6455, version 13)",
    (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),  # RFC 6455, 4.4
)
TOO_MANY_ATTEMPTS = Refusal(429, "too-many-attempts", "Too many attempts: wait")
BUSY = Refusal(503, "busy", "Too many requests are in progress: wait")
DRAINING = Refusal(503, "draining", "This replica is shutting down: connect again")
UNAVAILABLE = Refusal(503, "unavailable", "A dependency of this service does not answer: wait")

ALL = (
    WRONG_CREDENTIALS,
    CREDENTIALS_MISSING,
    TOKEN_MISSING,
    TOKEN_REFUSED,
    TOKEN_EXPIRED,
    TICKET_REFUSED,
    CLIENT_DISABLED,
    LOOPBACK_ONLY,
    CHANNEL_NOT_PERMITTED,
    ADDRESS_NOT_ALLOWED,
    PRODUCER_REFUSED,
    PUBLISHING_NOT_PERMITTED,
    ORIGIN_NOT_ALLOWED,
    ALREADY_CONNECTED,
    NOT_CONNECTED,
    PUSH_IN_PROGRESS,
    KEY_REUSED,
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


class Refused(ProblemError):
    """A request that is refused. The detail is for its sender and holds no secret."""

    def __init__(
        self, refusal: Refusal, detail: str = "", *, retry_after: float | None = None, event: int | None = None
    ) -> None:
        """`retry_after` is the seconds to wait before a retry can succeed.

        `event` is the index of the event that is refused, where one of a batch is.
        """
        headers = dict(refusal.headers)
        if retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        members = {"type": f"urn:trelay:problem:{refusal.code}", "title": refusal.title, "code": refusal.code}
        super().__init__(
            f"{refusal.code}: {detail or refusal.title}",
            status=refusal.status,
            detail=detail or refusal.title,
            headers=headers,
            members=members if event is None else {**members, "event": event},
        )
        self.refusal = refusal
        self.genuine = False
        """Whether the request had proven who it is, by a token whose signature verifies."""
        self.retry_after = retry_after
