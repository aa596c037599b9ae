"""Records of a document, whatever its format: each is one JSON object, or the reason why there is none."""

import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import msgspec

from shared.errors import Malformed, TrelayError

logger = logging.getLogger(__name__)


class UnreadableValue:
    """A value for which Python has nothing: its record is an error, and not its document."""

    __slots__ = ("_written", "reason")

    def __init__(self, reason: str, written: object) -> None:
        """`written` is the value as it is in the document."""
        self.reason = reason
        self._written = written

    def __repr__(self) -> str:
        """Return what is kept of it."""
        return repr(self._written)


class _Unreadable(Exception):
    """There is an `UnreadableValue`."""


def _refuse(value: object) -> object:
    if isinstance(value, UnreadableValue):
        raise _Unreadable
    raise TypeError(f"found a value of the type {type(value).__name__}")


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_refuse).encode


class FoundRecord(NamedTuple):
    """One record of a document."""

    data: bytes
    """The record as a JSON object; where it has an error, what is kept of it."""
    place: str
    """Where it is in the document, such as `line 17` or `bytes 120-340`."""
    error: str | None = None
    size: int = 0
    """Bytes of the record, where `data` does not have all of them."""


Records = Iterator[FoundRecord | None]
"""The records of a document, in order. None says that reading goes on and has found none yet: so that the caller can
stop waiting while a large file is skipped."""


class Stream(Protocol):
    """Bytes that are read in order."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end.

        Raises:
            UnreadableDocument: the content is broken from here on.
        """
        ...


class UnreadableDocument(Malformed):
    """The document is broken, or not of this format, from some place on: nothing behind it can be read."""


def readable(records: Records) -> Records:
    """Yield records; an error that no format expects makes their document unreadable, and no others.

    Raises:
        UnreadableDocument: the document is broken, or the library that reads it does not know what it found.
        OSError, TrelayError, MemoryError: as raised.
    """
    try:
        yield from records
    except (OSError, TrelayError, MemoryError, GeneratorExit):
        raise
    except BaseException as exc:
        # A panic of a library that is written in Rust is no `Exception`.
        logger.exception("unexpected error in document", extra={"component": "source"})
        raise UnreadableDocument(f"{type(exc).__name__}: {exc}") from exc


def encode_values(values: Any) -> bytes:
    """Return values of Python as JSON: decimals and integers with all digits, bytes in base64.

    Raises:
        Malformed: a value cannot be JSON, such as a number that is infinite.
    """
    try:
        data = _encode(values)
    except _Unreadable:
        data = b"null"
    except UnicodeEncodeError as exc:
        raise Malformed("not JSON: found text that UTF-8 cannot encode") from exc
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as exc:
        raise Malformed(f"not JSON: {exc}") from exc
    # msgspec writes null for a float that is not a number.
    if b"null" in data and (found := _unreadable(values, "")) is not None:
        raise Malformed(found)
    return data


def _unreadable(value: Any, place: str) -> str | None:
    """Return the place of the first value that JSON cannot have, and what is wrong with it."""
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place}: found {value}; expected a finite number"
    if isinstance(value, UnreadableValue):
        return f"{place}: {value.reason}"
    items: Any = ()
    if isinstance(value, dict):
        items = ((f"{place}.{name}" if place else str(name), item) for name, item in value.items())
    elif isinstance(value, list | tuple):
        items = ((f"{place}[{number}]", item) for number, item in enumerate(value))
    return next((found for where, item in items if (found := _unreadable(item, where)) is not None), None)
