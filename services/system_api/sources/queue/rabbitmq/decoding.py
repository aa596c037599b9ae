r"""Decodes the properties of messages, whatever their sender has written there.

pamqp raises an error for a text that is not UTF-8, and for a time after the year 9999, such as one in microseconds.
aio-pika then closes the connection. RabbitMQ checks neither, and delivers the message again, so that one message would
stop a source for ever. Here such a text keeps its bytes as `\xff`, and such a time is a number.
"""

import struct
from collections.abc import Callable
from typing import Any

from pamqp import decode

_LENGTH = struct.Struct(">I")
_TIME = struct.Struct(">Q")
_WITH_LENGTH = {b"F", b"A", b"S", b"x"}
"""The types of a field whose value begins with its length: table, array, text, bytes."""
_timestamp = decode.timestamp


def tolerate() -> None:
    """Let pamqp decode any properties from now on, in the whole process."""
    methods: dict[str, Callable[[bytes], Any]] = decode.METHODS
    methods |= {"shortstr": short_text, "timestamp": time, "table": table}
    fields: dict[bytes, Callable[[bytes], Any]] = decode.TABLE_MAPPING
    fields |= {b"T": time, b"F": table}


def short_text(value: bytes) -> tuple[int, str]:
    """Return the bytes that a text takes, and the text.

    Raises:
        ValueError: there is none.
    """
    if not value:
        raise ValueError("expected a text, found nothing")
    end = 1 + value[0]
    return end, value[1:end].decode(errors="backslashreplace")


def time(value: bytes) -> tuple[int, Any]:
    """Return the bytes that a time takes, and the time; its number where that is no time.

    Raises:
        ValueError: there is none.
    """
    try:
        return _timestamp(value)
    except (ValueError, OverflowError, OSError):
        if len(value) < _TIME.size:
            raise
        return _TIME.size, _TIME.unpack_from(value)[0]


def table(value: bytes) -> tuple[int, dict[str, Any]]:
    """Return the bytes that a table takes, and its fields; None in place of one that is nested too deeply.

    Raises:
        ValueError: there is none.
    """
    if len(value) < _LENGTH.size or (end := _LENGTH.size + _LENGTH.unpack_from(value)[0]) > len(value):
        raise ValueError("the table is longer than what holds it")
    found: dict[str, Any] = {}
    at = _LENGTH.size
    while at < end:
        taken, name = short_text(value[at:])
        at += taken
        taken, found[name] = _field(value[at:end])
        at += taken
    return end, found


def _field(value: bytes) -> tuple[int, Any]:
    try:
        return decode.embedded_value(value)
    except RecursionError:
        if value[:1] not in _WITH_LENGTH:
            raise
        return 1 + _LENGTH.size + _LENGTH.unpack_from(value, 1)[0], None
