"""Who may operate a service: those with a token, or, where none is configured, this machine alone."""

import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from multidict import MultiMapping
from pydantic import AfterValidator, SecretStr, model_validator

from shared.errors import ProblemError
from shared.http.client_certificates import certificate_names
from shared.http.origin import Networks, origin
from shared.runtime.clock import Clock
from shared.runtime.logs import LineLimit
from shared.settings import Form, Options, Secret

logger = logging.getLogger(__name__)

_MIN_TOKEN = 24
LOOPBACK = "loopback"
"""The name of an operator without a token."""
_BROWSER_HEADERS = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode")


def _long(token: SecretStr) -> SecretStr:
    length = len(token.get_secret_value())
    if length < _MIN_TOKEN:
        raise ValueError(f"the token is too short: found {length} characters, expected at least {_MIN_TOKEN}")
    return token


class OperatorOptions(Options):
    """One person or program that may operate a service."""

    token: Annotated[Secret, AfterValidator(_long)]
    """Sent as `Authorization: Bearer …`; at least 24 characters, such as those of `openssl rand -hex 16`."""


class CertifiedOperatorOptions(Options):
    """One person or program that may operate a service, by a token, a client certificate, or either."""

    token: Annotated[Secret, AfterValidator(_long)] | None = None
    """Sent as `Authorization: Bearer …`; at least 24 characters, such as those of `openssl rand -hex 16`."""

    certificates: tuple[Annotated[str, Form(r"^\S+$", "a name without white space")], ...] = ()
    """Names in client certificates (mutual TLS): a DNS name, URI or e-mail address of the subject alternative names, or
    the common name of a certificate without any of these. `listen.tls.client_ca_file` names who issues them."""

    @model_validator(mode="after")
    def _can_be_known(self) -> Self:
        if self.token is None and not self.certificates:
            raise ValueError("expected `token` or `certificates`, or no request could come from this operator")
        return self


@dataclass(frozen=True, slots=True)
class Operator:
    """Who sent a request."""

    name: str
    address: str


class Operators:
    """Decides who sent a request, and whether they may."""

    def __init__(
        self, options: Mapping[str, OperatorOptions | CertifiedOperatorOptions], setting: str, clock: Clock
    ) -> None:
        """`setting` is the name of the setting that holds the options, such as `system.operators`."""
        self._no_tokens = f"no operators are configured (`{setting}`): only requests from this machine are accepted"
        self._expected = f"expected the token of an operator (`{setting}`) as `Authorization: Bearer …`"
        self._digests = {
            name: _digest(each.token.get_secret_value()) for name, each in options.items() if each.token is not None
        }
        certified = {name: each for name, each in options.items() if isinstance(each, CertifiedOperatorOptions)}
        self._by_certificate = {known: name for name, each in certified.items() for known in each.certificates}
        self._clock = clock
        self._lines = LineLimit()

    @property
    def named(self) -> bool:
        """Whether operators have tokens or certificates."""
        return bool(self._digests or self._by_certificate)

    def identify(
        self, peer: str | None, headers: MultiMapping[str], certificate: Mapping[str, Any] | None = None
    ) -> Operator:
        """Return who sent a request. `certificate` is that of the TLS connection.

        A token that is sent must be right, whatever the certificate.

        Raises:
            ProblemError: 401, the token is missing or unknown; 403, there are no tokens, and the request is not from
                this machine.
        """
        sender = origin(peer, headers, Networks(()))
        address = str(sender.address)
        if not self.named:
            if not sender.loopback:
                raise self._refusal(403, f"{self._no_tokens}; {sender.not_loopback}", address)
            # A page in a browser on this machine may send requests too, and says so.
            if any(name in headers for name in _BROWSER_HEADERS):
                raise self._refusal(403, f"{self._no_tokens}, and none from a browser", address)
            return Operator(LOOPBACK, address)
        if "Authorization" not in headers:
            for known in sorted(certificate_names(certificate) & self._by_certificate.keys()):
                return Operator(self._by_certificate[known], address)
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        digest = _digest(token.strip())
        # All are compared, so that the time tells nothing.
        found = [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]
        if scheme.lower() != "bearer" or not found:
            raise self._refusal(401, self._expected, address)
        return Operator(found[0], address)

    def check_reader(self, peer: str | None, headers: MultiMapping[str]) -> None:
        """Check who reads, where operators have tokens; without tokens, the listener itself decides who can.

        Raises:
            ProblemError: 401, the token is missing or unknown.
        """
        if self.named:
            self.identify(peer, headers)

    def _refusal(self, status: int, detail: str, address: str) -> ProblemError:
        if count := self._lines.passed(self._clock.monotonic()):
            fields = {"component": "operators", "address": address, "reason": detail, "count": count}
            logger.warning("operator request refused", extra=fields)
        headers = {"WWW-Authenticate": 'Bearer realm="trelay operators"'} if status == 401 else {}  # noqa: PLR2004 -- HTTP
        return ProblemError(detail, status=status, detail=detail, headers=headers, members={})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
