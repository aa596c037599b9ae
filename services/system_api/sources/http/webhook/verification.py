"""Verifies that a request comes from the sender that has the secret. No I/O.

Sources: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries,
https://docs.stripe.com/webhooks#verify-manually, https://docs.slack.dev/authentication/verifying-requests-from-slack,
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, assert_never

from multidict import MultiMapping
from pydantic import SecretStr

from services.system_api.sources.http.webhook import refusals
from services.system_api.sources.http.webhook.refusals import Refusal, Refused
from services.system_api.sources.http.webhook.verify_options import (
    BasicOptions,
    BearerOptions,
    GithubOptions,
    HmacOptions,
    NoneOptions,
    SlackOptions,
    StandardOptions,
    StripeOptions,
    VerifyOptions,
    standard_key,
)

Headers = MultiMapping[str]

_SIGNATURES = 20
"""Signatures of one request that are compared: senders add one for each secret while they rotate it."""
_DIGITS = re.compile(r"[0-9]{1,12}")


class Proof(Protocol):
    """What the headers of a request claim, still to be compared with its body."""

    def check(self, body: bytes) -> None:
        """Compare it with the body.

        Raises:
            Refused: the body is not what the sender signed.
        """
        ...


Verify = Callable[[Headers, float], Proof]
"""Takes the headers and the time in seconds since 1970. It needs no body, so that a request without a proof costs next
to nothing.

Raises:
    Refused: the headers prove nothing.
"""


@dataclass(frozen=True, slots=True)
class _Signed:
    """Signatures over a text that ends with the body."""

    keys: Sequence[bytes]
    algorithm: str
    before: bytes
    """What stands before the body in the signed text."""
    signatures: Sequence[bytes]

    def check(self, body: bytes) -> None:
        """Compare all signatures with all keys, so that the time tells nothing."""
        found = False
        for key in self.keys:
            digest = hmac.new(key, self.before, self.algorithm)
            digest.update(body)
            expected = digest.digest()
            for signature in self.signatures:
                found |= hmac.compare_digest(expected, signature)
        if not found:
            raise Refused(refusals.SIGNATURE_WRONG)


class _Proven:
    """The headers alone have proven it, or nothing has to be proven."""

    def check(self, body: bytes) -> None:
        """Do nothing."""


def verifier(options: VerifyOptions) -> Verify:  # noqa: PLR0911 -- one for each kind
    """Return what verifies requests as the settings say."""
    match options:
        case GithubOptions():
            header = "X-Hub-Signature-256"
            return partial(_plain, _keys(options.secrets), header, "sha256", _from_hex, "sha256=")
        case HmacOptions():
            read = _from_hex if options.encoding == "hex" else _from_base64
            return partial(_plain, _keys(options.secrets), options.header, options.algorithm, read, options.prefix)
        case StripeOptions():
            return partial(_stripe, _keys(options.secrets), options.tolerance)
        case SlackOptions():
            return partial(_slack, _keys(options.secrets), options.tolerance)
        case StandardOptions():
            return partial(_standard, [standard_key(each) for each in options.secrets], options.tolerance)
        case BearerOptions():
            return partial(_authorization, "bearer", _keys(options.tokens), refusals.TOKEN_WRONG)
        case BasicOptions():
            pairs = [f"{options.username}:{each.get_secret_value()}".encode() for each in options.passwords]
            return partial(_authorization, "basic", [base64.b64encode(pair) for pair in pairs], refusals.PASSWORD_WRONG)
        case NoneOptions():
            return lambda _headers, _now: _Proven()
        case _:
            assert_never(options)


def _keys(secrets: Iterable[SecretStr]) -> list[bytes]:
    return [each.get_secret_value().encode() for each in secrets]


def _plain(
    keys: Sequence[bytes],
    header: str,
    algorithm: str,
    read: Callable[[str], bytes],
    prefix: str,
    headers: Headers,
    _now: float,
) -> Proof:
    written = _required(headers, header).strip()
    if not written.startswith(prefix):
        raise Refused(refusals.SIGNATURE_MALFORMED, f"expected {prefix}… in {header}")
    return _Signed(keys, algorithm, b"", [read(written.removeprefix(prefix))])


def _stripe(keys: Sequence[bytes], tolerance: float, headers: Headers, now: float) -> Proof:
    pairs = [part.strip().partition("=") for part in _required(headers, "Stripe-Signature").split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    written = [value for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not written:
        raise Refused(refusals.SIGNATURE_MALFORMED, "expected t=…,v1=… in Stripe-Signature")
    _check_time(times[0], tolerance, now)
    signatures = [_from_hex(each) for each in written[:_SIGNATURES]]
    return _Signed(keys, "sha256", f"{times[0]}.".encode(), signatures)


def _slack(keys: Sequence[bytes], tolerance: float, headers: Headers, now: float) -> Proof:
    written, time = _required(headers, "X-Slack-Signature"), _required(headers, "X-Slack-Request-Timestamp")
    if not written.startswith("v0="):
        raise Refused(refusals.SIGNATURE_MALFORMED, "expected v0=… in X-Slack-Signature")
    _check_time(time, tolerance, now)
    return _Signed(keys, "sha256", f"v0:{time}:".encode(), [_from_hex(written.removeprefix("v0="))])


def _standard(keys: Sequence[bytes], tolerance: float, headers: Headers, now: float) -> Proof:
    identity, time = _required(headers, "webhook-id"), _required(headers, "webhook-timestamp")
    pairs = [each.partition(",") for each in _required(headers, "webhook-signature").split()]
    written = [value for version, _, value in pairs if version == "v1"]
    if not written:
        raise Refused(refusals.SIGNATURE_MALFORMED, "expected v1,… in webhook-signature")
    _check_time(time, tolerance, now)
    signatures = [_from_base64(each) for each in written[:_SIGNATURES]]
    return _Signed(keys, "sha256", f"{identity}.{time}.".encode(errors="surrogateescape"), signatures)


def _authorization(scheme: str, expected: Sequence[bytes], refusal: Refusal, headers: Headers, _now: float) -> Proof:
    found, _, value = headers.get("Authorization", "").partition(" ")
    given = value.strip().encode(errors="surrogateescape")
    right = False
    for each in expected:  # all are compared, so that the time tells nothing
        right |= hmac.compare_digest(each, given)
    if found.lower() != scheme or not right:
        raise Refused(refusal)
    return _Proven()


def _required(headers: Headers, name: str) -> str:
    found = headers.get(name)
    if not found:
        raise Refused(refusals.SIGNATURE_MISSING, f"expected the header {name}")
    return found


def _check_time(written: str, tolerance: float, now: float) -> None:
    if not _DIGITS.fullmatch(written):
        raise Refused(refusals.SIGNATURE_MALFORMED, "expected seconds since 1970 as the time")
    apart = abs(now - int(written))
    if apart > tolerance:
        raise Refused(refusals.TIMESTAMP_OUTSIDE, f"found {apart:.0f} seconds, the limit is {tolerance:g}")


def _from_hex(written: str) -> bytes:
    try:
        return binascii.unhexlify(written)
    except (binascii.Error, ValueError) as exc:
        raise Refused(refusals.SIGNATURE_MALFORMED, "expected hexadecimal digits") from exc


def _from_base64(written: str) -> bytes:
    try:
        return base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Refused(refusals.SIGNATURE_MALFORMED, "expected base64") from exc
