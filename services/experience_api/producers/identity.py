"""Finds which producer sent a request: by a token, a client certificate, or an address on the allow list. Sans-I/O."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from multidict import MultiMapping

from services.experience_api.auth.admission import Budgets
from services.experience_api.hub.patterns import covers
from services.experience_api.producers.options import ProducerOptions
from services.experience_api.refusals import (
    ADDRESS_NOT_ALLOWED,
    PRODUCER_REFUSED,
    PUBLISHING_NOT_PERMITTED,
    TOO_MANY_ATTEMPTS,
    Refused,
)
from shared.http.client_certificates import certificate_names
from shared.http.origin import Networks, Origin

_TOKEN_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Producer:
    """Who pushes."""

    name: str
    """Empty for an address on the allow list."""
    channels: tuple[str, ...]
    """Patterns of the channels that it may publish to."""

    def check(self, channels: Iterable[str]) -> None:
        """Check that it may publish to all of these channels.

        Raises:
            Refused: `PUBLISHING_NOT_PERMITTED`.
        """
        for channel in channels:
            if not any(covers(pattern, channel) for pattern in self.channels):
                detail = f"channel {channel[:80]!r}: not among the channels of producer {self.name!r}"
                raise Refused(PUBLISHING_NOT_PERMITTED, detail)


ALLOWED_ADDRESS = Producer("", ("**",))


class Producers:
    """The producers that the settings name, and the networks that may push without credentials."""

    def __init__(self, options: Mapping[str, ProducerOptions], allowed: Networks, budgets: Budgets) -> None:
        """`budgets` are the failures of each address."""
        self._by_token: dict[bytes, Producer] = {}
        self._by_certificate: dict[str, Producer] = {}
        for name, each in options.items():
            producer = Producer(name, each.channels)
            self._by_token.update({_digest(token.get_secret_value()): producer for token in each.tokens})
            self._by_certificate.update(dict.fromkeys(each.certificates, producer))
        self._named = bool(options)
        self._allowed = allowed
        self._budgets = budgets

    def identify(
        self, origin: Origin, headers: MultiMapping[str], certificate: Mapping[str, Any] | None, now: float
    ) -> Producer:
        """Return who sent a request. `certificate` is that of the TLS connection; `now` is monotonic.

        A token that is sent must be right: the request is refused even if its address is allowed.

        Raises:
            Refused: `PRODUCER_REFUSED`; `ADDRESS_NOT_ALLOWED`; `TOO_MANY_ATTEMPTS`: many from this address had wrong
                credentials, and this one has as well.
        """
        tokens = _bearer(headers) if self._named else []
        if tokens:
            return self._of_token(tokens, origin, now)
        for name in sorted(certificate_names(certificate)):
            if name in self._by_certificate:
                return self._by_certificate[name]
        if origin.within(self._allowed):
            return ALLOWED_ADDRESS
        if not self._named:
            raise Refused(ADDRESS_NOT_ALLOWED, self._why_not(origin))
        raise self._failure(origin, now, f"found no token of a producer; {self._why_not(origin)}")

    def _of_token(self, tokens: list[str], origin: Origin, now: float) -> Producer:
        found = self._by_token.get(_digest(tokens[0])) if len(tokens) == 1 else None
        if found is None:
            raise self._failure(origin, now, "the token in 'Authorization: Bearer' is not that of a producer")
        return found

    def _failure(self, origin: Origin, now: float, detail: str) -> Refused:
        if self._budgets.take_if_left(origin.budget_key, now):
            return Refused(PRODUCER_REFUSED, detail)
        detail = f"{detail}; {TOO_MANY_ATTEMPTS.title.lower()}"
        return Refused(TOO_MANY_ATTEMPTS, detail, retry_after=self._budgets.wait(origin.budget_key, now))

    def _why_not(self, origin: Origin) -> str:
        if not self._allowed:
            return "the setting `experience.entity.allow` names no network"
        if origin.unverified:
            return f"{origin.unverified}; the setting `experience.trusted_proxies` names those that are trusted"
        return f"{origin.address} is not on the allow list"


def _bearer(headers: MultiMapping[str]) -> list[str]:
    """Return the tokens. Another scheme is not for this service: a proxy in front may have used it."""
    lines = [line.partition(" ") for line in headers.getall("Authorization", [])]
    return [rest.strip()[:_TOKEN_LIMIT] for scheme, _, rest in lines if scheme.lower() == "bearer"]


def _digest(token: str) -> bytes:
    # Found by digest, so that the time of the look-up does not depend on how much of a token is right.
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
