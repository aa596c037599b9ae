"""Keeps an access token (OAuth 2.0) until it expires, and requests a new one once for all who wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from shared.errors import TrelayError, Unavailable
from shared.runtime.clock import Clock

_MARGIN = 30.0
"""Seconds before its expiry after which a token is not used: the request, and the clocks, take a while."""
_SHARE = 0.1
"""The same as a share of its lifetime, for tokens that live shortly."""


class Token(NamedTuple):
    """What the authorization server issued."""

    value: str
    lifetime: float | None
    """Seconds; None where the server does not say."""


class _Issued(msgspec.Struct):
    access_token: str
    token_type: str = "bearer"  # noqa: S105 -- the type, not a token
    expires_in: float | str | None = None  # some servers send text


_decode = msgspec.json.Decoder(_Issued).decode


def parse_token(body: bytes) -> Token:
    """Read the response of a token endpoint (RFC 6749, section 5.1).

    Raises:
        Unavailable: it holds no bearer token.
    """
    try:
        issued = _decode(body)
        lifetime = None if issued.expires_in is None else float(issued.expires_in)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as exc:
        # The text of the error names the member and its type, never a value.
        raise Unavailable(f"the response holds no access token: {type(exc).__name__}") from exc
    if not issued.access_token or not issued.access_token.isascii() or issued.token_type.lower() != "bearer":
        raise Unavailable(f"the response holds no bearer token, but one of the type {issued.token_type[:40]!r}")
    return Token(issued.access_token, lifetime)


class TokenCache:
    """The token of one client."""

    def __init__(self, request: Callable[[], Awaitable[Token]], clock: Clock) -> None:
        """`request` gets a new token; it raises `TrelayError`."""
        self._request = request
        self._clock = clock
        self._token: str | None = None
        self._expires = float("inf")
        self._requesting = asyncio.Lock()
        self._answered = 0
        """Requests that have ended."""
        self._failure: TrelayError | None = None

    async def get(self) -> str:
        """Return a token that is valid for a while. Calls at the same time share one request, and its failure.

        Raises what the request raises.
        """
        if (token := self._valid()) is not None:
            return token
        answered = self._answered
        async with self._requesting:
            if (token := self._valid()) is not None:
                return token
            if self._answered != answered and self._failure is not None:
                raise self._failure
            return await self._renew()

    def discard(self, token: str) -> None:
        """Do not use this token again: the API refused it. A newer token stays."""
        if token == self._token:
            self._token = None

    def _valid(self) -> str | None:
        return self._token if self._clock.monotonic() < self._expires else None

    async def _renew(self) -> str:
        began = self._clock.monotonic()
        try:
            token = await self._request()
        except TrelayError as exc:
            self._failure = exc
            raise
        finally:
            self._answered += 1
        self._failure = None
        lifetime = float("inf") if token.lifetime is None else token.lifetime
        self._expires = began + lifetime - min(_MARGIN, lifetime * _SHARE)
        self._token = token.value
        return token.value
