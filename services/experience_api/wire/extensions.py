"""Negotiates the compression of messages (RFC 7692, 7.1) from the header `Sec-WebSocket-Extensions`. Sans-I/O.

Both sides compress each message by itself (`server_no_context_takeover`, `client_no_context_takeover`): then a frame is
compressed once, and its bytes are the same for every client.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_DEFLATE = "permessage-deflate"
_SERVER_BITS, _CLIENT_BITS = "server_max_window_bits", "client_max_window_bits"
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOWS = range(8, 16)
LARGEST_WINDOW = 15
_SMALLEST_WINDOW = 9
"""zlib cannot compress with a window of 256 bytes."""

_LONGEST = 4096
"""Characters: browsers send 50. A megabyte would take a second."""

_OPTIONAL_SPACE = r"[ \t]*"
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME = re.compile(rf"{_OPTIONAL_SPACE}({_WORD}){_OPTIONAL_SPACE}")
_VALUE = re.compile(rf'{_OPTIONAL_SPACE}(?:({_WORD})|"({_WORD})"){_OPTIONAL_SPACE}')
"""A quoted value has the form of a token once it is unquoted (RFC 6455, 9.1)."""
_BITS = re.compile("[1-9][0-9]?")

Parameters = list[tuple[str, str | None]]


class Agreed(NamedTuple):
    """A compression that both sides use."""

    window: int
    """The logarithm of the largest distance that the client can look back, in bytes: 9 to 15."""
    answer: str
    """The value of the header in the response."""


class _MalformedError(Exception):
    """The header violates its grammar."""


def negotiate(headers: Iterable[str]) -> Agreed | None:
    """Return the compression of the first offer that can be accepted; None if there is none.

    A header that violates the grammar, or is much longer than any client sends, offers nothing.
    """
    header = ",".join(headers)
    if len(header) > _LONGEST:
        return None
    try:
        offers = list(_offers(header))
    except _MalformedError:
        return None
    for name, parameters in offers:
        if name == _DEFLATE and (agreed := _accepted(parameters)) is not None:
            return agreed
    return None


def _accepted(parameters: Parameters) -> Agreed | None:
    """Return what answers an offer; None if a parameter is unknown, repeated or has an invalid value."""
    given = dict(parameters)
    if len(given) < len(parameters):
        return None
    if not all(_valid(name, value) for name, value in parameters):
        return None
    answer = "; ".join((_DEFLATE, *_FLAGS))
    if _SERVER_BITS not in given:
        return Agreed(LARGEST_WINDOW, answer)
    window = int(given[_SERVER_BITS] or 0)
    return Agreed(window, f"{answer}; {_SERVER_BITS}={window}") if window >= _SMALLEST_WINDOW else None


def _valid(name: str, value: str | None) -> bool:
    if name in _FLAGS:
        return value is None
    if name == _CLIENT_BITS and value is None:
        return True
    bits = name in {_SERVER_BITS, _CLIENT_BITS}
    return bits and value is not None and _BITS.fullmatch(value) is not None and int(value) in _WINDOWS


def _offers(header: str) -> Iterator[tuple[str, Parameters]]:
    """Parse the list of extensions. Empty elements of the list are ignored (RFC 9110, 5.6.1)."""
    at = 0
    while at < len(header):
        if header[at] in ", \t":
            at += 1
            continue
        name, at = _name(header, at)
        parameters: Parameters = []
        while header[at : at + 1] == ";":
            parameter, at = _name(header, at + 1)
            value = None
            if header[at : at + 1] == "=":
                value, at = _value(header, at + 1)
            parameters.append((parameter, value))
        if header[at : at + 1] not in {"", ","}:
            raise _MalformedError
        yield name, parameters


def _name(header: str, at: int) -> tuple[str, int]:
    found = _NAME.match(header, at)
    if found is None:
        raise _MalformedError
    return found[1], found.end()


def _value(header: str, at: int) -> tuple[str, int]:
    found = _VALUE.match(header, at)
    if found is None:
        raise _MalformedError
    return found[1] or found[2], found.end()
