"""Signs webhooks as their senders do."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

SECRET = "a secret of the tests"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def github(body: bytes, delivery: str, event: str = "push", secret: str = SECRET) -> Mapping[str, str]:
    """Return the headers of GitHub."""
    return {
        "Content-Type": "application/json",
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": f"sha256={_hex(secret, body)}",
    }


def stripe(body: bytes, at: float | None = None, *secrets: str) -> Mapping[str, str]:
    """Return the headers of Stripe, signed with each of the secrets."""
    moment = int(time.time() if at is None else at)
    signatures = ",".join(f"v1={_hex(secret, b'%d.%b' % (moment, body))}" for secret in secrets or (SECRET,))
    return {"Content-Type": "application/json", "Stripe-Signature": f"t={moment},{signatures},v0=00"}


def slack(body: bytes, at: float | None = None) -> Mapping[str, str]:
    """Return the headers of Slack."""
    moment = int(time.time() if at is None else at)
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": str(moment),
        "X-Slack-Signature": f"v0={_hex(SECRET, b'v0:%d:%b' % (moment, body))}",
    }


def standard(body: bytes, delivery: str, at: float | None = None) -> Mapping[str, str]:
    """Return the headers of Standard Webhooks."""
    moment = int(time.time() if at is None else at)
    key = base64.b64decode(STANDARD_SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, b"%b.%d.%b" % (delivery.encode(), moment, body), hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": str(moment),
        "webhook-signature": f"v1a,unused v1,{base64.b64encode(digest).decode()}",
    }


def _hex(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
