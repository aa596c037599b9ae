"""Reads the requests of operators. Sans-I/O."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec
from multidict import MultiMapping

from services.experience_api.auth.credentials import CLIENT_ID
from services.experience_api.registry.clients import ClientChange, Policy
from shared.errors import Malformed

PAGE = 100
"""Entries of a page, unless the request says otherwise."""
PAGE_LIMIT = 1000
_EVERY_CHANNEL = ("**",)
T = TypeVar("T")


class WholeNumber(int):
    """An integer, which JSON may have as `2.0` as well."""


class NewClientBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /clients`."""

    client_id: str
    secret: str | None = None
    channels: tuple[str, ...] = _EVERY_CHANNEL
    may_send: bool = False
    loopback_only: bool = False
    note: str = ""
    policy: Policy = Policy.PROBE
    max_connections: WholeNumber = WholeNumber(1)


class ChangeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PATCH /clients/{client_id}`."""

    channels: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    may_send: bool | msgspec.UnsetType = msgspec.UNSET
    loopback_only: bool | msgspec.UnsetType = msgspec.UNSET
    note: str | msgspec.UnsetType = msgspec.UNSET
    policy: Policy | msgspec.UnsetType = msgspec.UNSET
    max_connections: WholeNumber | msgspec.UnsetType = msgspec.UNSET


class RotateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /clients/{client_id}/rotate`."""

    overlap: float
    """Seconds for which the secret before remains valid."""
    secret: str | None = None


class Page(NamedTuple):
    """Which page of a list is asked for."""

    after: str
    limit: int


def _whole_number(_kind: type, value: object) -> WholeNumber:
    """Decode the only type here that msgspec does not know."""
    if isinstance(value, float) and value.is_integer():
        return WholeNumber(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return WholeNumber(value)
    raise TypeError(f"Expected `int`, got `{value!r}`"[:80])


_new_client = msgspec.json.Decoder(NewClientBody, dec_hook=_whole_number).decode
_change = msgspec.json.Decoder(ChangeBody, dec_hook=_whole_number).decode
_rotate = msgspec.json.Decoder(RotateBody).decode


def read_new_client(body: bytes) -> NewClientBody:
    """Read the body of `POST /clients`.

    Raises:
        Malformed: it names no client, or has a member that is invalid or unknown.
    """
    return _read(_new_client, body)


def read_change(body: bytes) -> ClientChange:
    """Read the body of `PATCH /clients/{client_id}`.

    Raises:
        Malformed: it changes nothing, or has a member that is invalid or unknown.
    """
    found = msgspec.structs.asdict(_read(_change, body))
    change = ClientChange(**{name: value for name, value in found.items() if value is not msgspec.UNSET})
    if not change.members:
        raise Malformed(f"body: found nothing to change; expected one of {', '.join(found)}")
    return change


def read_rotate(body: bytes) -> RotateBody:
    """Read the body of `POST /clients/{client_id}/rotate`.

    Raises:
        Malformed: it has no overlap, or a member that is invalid or unknown.
    """
    return _read(_rotate, body)


def check_empty(body: bytes) -> None:
    """Check the body of a request that takes none.

    Raises:
        Malformed: it has one.
    """
    if body.strip() not in {b"", b"{}"}:
        raise Malformed("body: expected none")


def read_page(query: MultiMapping[str]) -> Page:
    """Read the parameters `after` and `limit`.

    Raises:
        Malformed: one of them is invalid, or there is another one.
    """
    if unknown := sorted(set(query) - {"after", "limit"}):
        raise Malformed(f"query parameter {unknown[0][:40]!r}: expected after or limit")
    after = query.get("after", "")
    if after and not CLIENT_ID.fullmatch(after):
        raise Malformed(f"query parameter 'after': found {after[:80]!r}; expected the last client id of a page")
    return Page(after, read_limit(query, PAGE, PAGE_LIMIT))


def read_limit(query: MultiMapping[str], usual: int, most: int) -> int:
    """Read the parameter `limit`.

    Raises:
        Malformed: it is not a number in range.
    """
    text = query.get("limit", str(usual))
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not 0 < int(text) <= most:
        raise Malformed(f"query parameter 'limit': found {text[:40]!r}; expected 1 to {most}")
    return int(text)


def read_connection(text: str) -> UUID | None:
    """Return the id of a connection; None if there can be none with it."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _read(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise Malformed(f"body: {exc}") from exc
