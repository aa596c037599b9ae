"""Reads the credentials of a request: a client's id and secret, or a consumer's token. Sans-I/O.

Input is either read or refused, never guessed. A request with two different values for the same credential is refused,
because a proxy in front may have used the other one.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field

from multidict import MultiMapping

from services.experience_api.refusals import (
    CREDENTIALS_MISSING,
    MALFORMED,
    TOKEN_MISSING,
    TOKEN_REFUSED,
    WRONG_CREDENTIALS,
    Refused,
)
from shared.errors import Malformed

CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SUBPROTOCOL = "cloudevents.json"
"""The WebSocket subprotocol of CloudEvents, with which the service answers."""

_CLIENT_ID, _CLIENT_SECRET = ("Client-Id", "client_id"), ("Client-Secret", "client_secret")
"""Several proxies drop names with an underscore."""
_BEARER_PROTOCOL = "bearer."
_SECRET_LIMIT = 256
_BASIC_LIMIT = 1024
_TOKEN_LIMIT = 1024
_PROTOCOLS_LIMIT = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750's b64token


def client_id(text: str) -> str:
    """Return a client id if it is valid.

    Raises:
        Malformed: not 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or a digit.
    """
    if not CLIENT_ID.fullmatch(text):
        raise Malformed(
            f"client id {text[:80]!r}: expected 1 to 64 letters, digits, '.', '_' and '-', a letter or digit first"
        )
    return text


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The id and secret that a request presents."""

    client_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CarriedToken:
    """The token that a request presents, not verified yet."""

    token: str = field(repr=False)
    client_id: str | None
    """The client that the request names; None if only the token names it."""


def read_client(headers: MultiMapping[str]) -> ClientCredentials:
    """Read HTTP Basic (RFC 7617), or the headers `Client-Id` and `Client-Secret`, also with underscores.

    Raises:
        Refused: `CREDENTIALS_MISSING` if there are none; `WRONG_CREDENTIALS`, whatever is wrong.
    """
    if not any(name in headers for name in ("Authorization", *_CLIENT_ID, *_CLIENT_SECRET)):
        raise Refused(
            CREDENTIALS_MISSING,
            "send 'Authorization: Basic', or the headers 'Client-Id' and 'Client-Secret'; proxies such as nginx drop "
            "headers with an underscore, such as 'client_secret'",
        )
    found = {pair for pair in (_from_headers(headers), _from_basic(headers)) if pair is not None}
    if len(found) != 1:
        raise Refused(WRONG_CREDENTIALS)
    return found.pop()


def read_token(headers: MultiMapping[str]) -> CarriedToken:
    """Read the token from `Authorization: Bearer`, from the headers `token` and `client_id`, or from the subprotocols.

    Raises:
        Refused: `TOKEN_MISSING`; `TOKEN_REFUSED` if its form is invalid or two of them differ; `MALFORMED` if
            subprotocols are offered without the supported one.
    """
    name = _single(headers, *_CLIENT_ID)
    protocols = offered_protocols(headers)
    tokens = {item.removeprefix(_BEARER_PROTOCOL) for item in protocols if item.startswith(_BEARER_PROTOCOL)}
    if protocols and SUBPROTOCOL not in protocols:
        # The response to the upgrade would name none of them, which browsers treat as a failure.
        raise Refused(MALFORMED, f"subprotocol {SUBPROTOCOL!r}: not offered; expected, as the only one supported")
    tokens.update(_bearer(headers))
    plain = headers.getall("token", [])
    if plain and name is None:
        raise Refused(TOKEN_MISSING, "the header 'token' requires the header 'Client-Id' as well")
    tokens.update(plain)
    if not tokens:
        raise Refused(
            TOKEN_MISSING,
            "send it as 'Authorization: Bearer <token>', as the headers 'token' and 'Client-Id' (proxies such as nginx "
            "drop headers with an underscore, such as 'client_id'), "
            f"or as the subprotocols '{SUBPROTOCOL}, bearer.<token>'",
        )
    token = tokens.pop()
    if tokens or len(token) > _TOKEN_LIMIT or not _TOKEN.fullmatch(token):
        raise Refused(TOKEN_REFUSED)
    return CarriedToken(token, name)


def offered_protocols(headers: MultiMapping[str]) -> list[str]:
    """Return the WebSocket subprotocols that are offered, in order.

    Raises:
        Refused: `MALFORMED` if there are too many, or if the supported one is not in the first of several lines:
            aiohttp reads the first line only, and would log the token in it as an unknown protocol.
    """
    # A stranger may send a megabyte of commas.
    lines = [line.split(",", _PROTOCOLS_LIMIT) for line in headers.getall("Sec-WebSocket-Protocol", [])]
    if len(lines) > 1 and SUBPROTOCOL not in map(str.strip, lines[0]):
        raise Refused(MALFORMED, f"offer the subprotocol {SUBPROTOCOL!r} in the first line 'Sec-WebSocket-Protocol'")
    offered = [item.strip() for line in lines for item in line]
    if len(offered) > _PROTOCOLS_LIMIT:
        raise Refused(MALFORMED, f"found more than {_PROTOCOLS_LIMIT} subprotocols; expected at most so many")
    return [item for item in offered if item]


def in_subprotocol(headers: MultiMapping[str]) -> bool:
    """Whether a subprotocol has the form of a token, as from a script in a browser.

    A browser hides the HTTP status of a failed upgrade from its scripts.
    """
    protocols = offered_protocols(headers)
    tokens = [item.removeprefix(_BEARER_PROTOCOL) for item in protocols if item.startswith(_BEARER_PROTOCOL)]
    return SUBPROTOCOL in protocols and any(map(_TOKEN.fullmatch, tokens))


def _bearer(headers: MultiMapping[str]) -> list[str]:
    lines = [line.partition(" ") for line in headers.getall("Authorization", [])]
    return [rest.strip() for scheme, _, rest in lines if scheme.lower() == "bearer"]


def _from_headers(headers: MultiMapping[str]) -> ClientCredentials | None:
    if not any(name in headers for name in _CLIENT_SECRET):
        return None
    return _credentials(_single(headers, *_CLIENT_ID) or "", _single(headers, *_CLIENT_SECRET) or "")


def _from_basic(headers: MultiMapping[str]) -> ClientCredentials | None:
    line = _single(headers, "Authorization")
    scheme, _, encoded = (line or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    if len(encoded) > _BASIC_LIMIT:
        raise Refused(WRONG_CREDENTIALS)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as exc:  # UnicodeDecodeError is a ValueError
        raise Refused(WRONG_CREDENTIALS) from exc
    name, _, secret = text.partition(":")
    return _credentials(name, secret)


def _credentials(name: str, secret: str) -> ClientCredentials:
    # `isprintable` is false for control characters and for bytes that are not UTF-8 (surrogates).
    if not CLIENT_ID.fullmatch(name) or not 0 < len(secret) <= _SECRET_LIMIT or not secret.isprintable():
        raise Refused(WRONG_CREDENTIALS)
    return ClientCredentials(name, secret)


def _single(headers: MultiMapping[str], *names: str) -> str | None:
    """Return the value of a header of these names; None if it is absent. Repetitions must be equal."""
    values = {value for name in names for value in headers.getall(name, [])}
    if len(values) > 1:
        raise Refused(MALFORMED, f"header {names[-1]!r}: found different values; expected one")
    return values.pop() if values else None
