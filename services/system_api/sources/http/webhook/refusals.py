"""Every reason for which a webhook is refused, as data: the status, a stable code, and what it means. No I/O."""

import math
from dataclasses import dataclass

from shared.errors import ProblemError


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason for a refusal."""

    status: int
    code: str
    """Stable, for programs."""
    detail: str
    challenge: str = ""
    """The header `WWW-Authenticate`, which RFC 9110 requires with 401."""
    retry_after: float = 0.0
    """Seconds after which to send again; 0: sending the same again does not help."""


_BEARER, _BASIC = 'Bearer realm="trelay webhooks"', 'Basic realm="trelay webhooks", charset="UTF-8"'

UNKNOWN_SOURCE = Refusal(404, "unknown-source", "there is no webhook source of this name")
SIGNATURE_MISSING = Refusal(403, "signature-missing", "the request has no signature")
SIGNATURE_MALFORMED = Refusal(403, "signature-malformed", "the signature has another form than the sender's scheme")
SIGNATURE_WRONG = Refusal(403, "signature-wrong", "the signature does not fit the body and the secret")
TIMESTAMP_OUTSIDE = Refusal(403, "timestamp-outside-tolerance", "the time of the signature is too far from now")
TOKEN_WRONG = Refusal(401, "token-wrong", "expected a token as Authorization: Bearer …", _BEARER)
PASSWORD_WRONG = Refusal(401, "password-wrong", "expected a user name and a password as Authorization: Basic …", _BASIC)
ID_MISSING = Refusal(400, "delivery-id-missing", "nothing identifies the delivery")
MALFORMED = Refusal(400, "malformed", "the body cannot be decompressed")
UNSUPPORTED_TYPE = Refusal(415, "unsupported-type", "the content encoding is not read")
TOO_SLOW = Refusal(408, "too-slow", "the body did not arrive in time")
TOO_LARGE = Refusal(413, "too-large", "the body is too large")
RATE_LIMITED = Refusal(429, "rate-limited", "too many deliveries in one second", retry_after=1.0)
BUSY = Refusal(503, "busy", "too many deliveries at once", retry_after=1.0)
INBOX_FULL = Refusal(
    503, "inbox-full", "the inbox is full, because its deliveries cannot be published", retry_after=30.0
)
UNAVAILABLE = Refusal(503, "unavailable", "the database does not answer; send the same delivery again", retry_after=5.0)

REFUSALS = (
    *(UNKNOWN_SOURCE, SIGNATURE_MISSING, SIGNATURE_MALFORMED, SIGNATURE_WRONG, TIMESTAMP_OUTSIDE, TOKEN_WRONG),
    *(PASSWORD_WRONG, ID_MISSING, MALFORMED, UNSUPPORTED_TYPE, TOO_SLOW, TOO_LARGE, RATE_LIMITED, BUSY, INBOX_FULL),
    UNAVAILABLE,
)


class Refused(ProblemError):
    """A request is refused."""

    def __init__(self, refusal: Refusal, detail: str = "", *, retry_after: float | None = None) -> None:
        """`detail` says more than that of the refusal."""
        text = f"{refusal.detail}: {detail}" if detail else refusal.detail
        wait = refusal.retry_after if retry_after is None else retry_after
        headers = {"WWW-Authenticate": refusal.challenge} if refusal.challenge else {}
        if wait > 0:
            headers["Retry-After"] = str(math.ceil(wait))
        super().__init__(text, status=refusal.status, detail=text, headers=headers, members={"code": refusal.code})
        self.refusal = refusal
