"""The rule for the data of every event: JSON that every reader accepts and reads alike.

Valid JSON (RFC 8259) can be more than readers take, so the rule follows I-JSON (RFC 7493):

- UTF-8, and no lone surrogate, raw or as an escape;
- no number that overflows a double, and no `NaN` or `Infinity`;
- at most `EVENT_LEVELS` nested objects and arrays in an event.

A member name that occurs twice in one object passes: readers take the last one, and so does Trelay.

Every entrance calls `check`. simdjson accepts almost all documents in about 0.2 µs for 1 KB: it checks the syntax,
UTF-8, surrogates and the range of numbers at once (1 µs where a document is mostly numbers). What it does not accept,
such as an integer above 64 bits, is checked again step by step, which also names the fault.

Where msgspec checks the syntax of many documents anyway, `is_suspicious` decides for all of them at once whether
`check` must look at each: 0.35 µs for 1 KB of numbers, more where text has many digits beside an `e`.
"""

import itertools
import math
import re
import threading
from collections.abc import Callable

import msgspec
import simdjson
from pydantic_core import SchemaValidator, core_schema

from shared.errors import Malformed
from shared.events.json_faults import find_fault

EVENT_LEVELS = 512
"""Nested objects and arrays of an event, the event itself included. It is the default limit of PHP. Jackson and Python
accept about 1000, orjson 1024, Go 10,000; .NET (64), Ruby (100) and serde_json (128) need a higher setting for events
that are deeper than their defaults."""
DATA_LEVELS = EVENT_LEVELS - 1
"""Nested objects and arrays of an event's data."""

_LARGEST_PARSED = 1_048_576
"""Bytes of the largest document that simdjson parses: a parser keeps about ten times that much memory."""
_BOM = 0xEF
"""simdjson skips a byte order mark; no JSON begins with this byte."""


class _Parser(threading.local):
    """A parser for each thread, since one parser cannot parse two documents at the same time."""

    def __init__(self) -> None:
        self.parse = simdjson.Parser().parse


_parser = _Parser()

SMALLEST_NESTED = 2 * DATA_LEVELS
"""Bytes of the smallest document with too many levels: all arrays."""
_SMALLEST_OF_OBJECTS = 4 * DATA_LEVELS
"""A smaller one has at least 173 levels of arrays, since an object takes five bytes: so three of them are close."""


def searcher(pattern: str) -> Callable[[bytes], bool]:
    """Return a function that tells whether a regular expression matches anywhere in UTF-8 text; it does not elsewhere.

    The regex engine of Rust searches at the speed of memory; `re` takes 20 times as long.
    """
    found: Callable[[bytes], bool] = SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python
    return found


# A double overflows with an exponent of three digits, or with 210 digits before one of two.
_has_exponent = searcher(r"[0-9][eE](?:\+[0-9]{3}|[0-9]{3})[0-9]*(?:[,\]}\s]|$)")
_has_dense_arrays = searcher(r"\[[^\[]{0,24}\[[^\[]{0,24}\[")

_DIGITS = bytes(0x30 if chr(code) in "0123456789" else 0x20 for code in range(256))
"""Maps digits to `0` and everything else to a space."""
_STRIDE = 32
_LONG_RUN = b"0" * 210
_SAMPLED_RUN = b"0" * (len(_LONG_RUN) // _STRIDE)
"""A long run contains as many bytes of a sample of every 32nd byte."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(code for code in range(256) if chr(code) not in "[]{}")
_OPEN = ord("[")
_PASSES = 16

_LARGE_NUMBER = re.compile(rb"(?<![0-9.eE+-])(?:-?[0-9.]++[eE]\+?[0-9]{3,}+|[0-9.eE+-]{210,}+)")
"""Finds, outside of strings, each number that may be out of range."""

_check_syntax = msgspec.json.Decoder(msgspec.Raw).decode
_decode = msgspec.json.Decoder().decode


def is_plain(document: bytes, levels: int = DATA_LEVELS) -> bool:
    """Whether a JSON document obeys the rule; False if only `check` can tell."""
    if len(document) > _LARGEST_PARSED or not document or document[0] == _BOM:
        return False
    try:
        _parser.parse(document)
    except (ValueError, RuntimeError):
        return False
    return not _is_deeper(document, levels)


def check(document: bytes, levels: int = DATA_LEVELS) -> None:
    """Check one JSON document, by default the data of an event.

    Raises:
        Malformed: names the value that breaks the rule, and its place as path and byte.
    """
    if is_plain(document, levels):
        return
    try:
        if not document.isascii():
            str(document, "utf-8")  # msgspec does not check the bytes in strings
        _check_syntax(document)
    except UnicodeDecodeError as exc:
        raise Malformed(f"not UTF-8: {exc.reason} at byte {exc.start}") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Malformed(find_fault(document, levels) or str(exc)) from exc
    if _breaks_rule(document, levels):
        fault = find_fault(document, levels)
        if fault is not None:
            raise Malformed(fault)


def obeys(document: bytes, levels: int = DATA_LEVELS) -> bool:
    """Whether a JSON document obeys the rule.

    It takes some ten milliseconds at most for 256 KiB, whatever they hold; to name the fault, as `check` does, takes
    more than a hundred.
    """
    if is_plain(document, levels):
        return True
    try:
        if not document.isascii():
            str(document, "utf-8")
        _check_syntax(document)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    if _is_deeper(document, levels):
        return False
    if not _has_exponent(document) and not _has_long_run(document):
        return True
    numbers = _LARGE_NUMBER.findall(_STRING.sub(b"", document))
    return all(math.isfinite(float(number)) for number in numbers)


def check_depth(document: bytes) -> None:
    """Check only the nesting of an event's data: of JSON that is composed of values which obey the rest of the rule.

    Raises:
        Malformed: as for `check`.
    """
    if _is_deeper(document, DATA_LEVELS):
        check(document)


def fault_of(document: bytes, levels: int = DATA_LEVELS) -> str | None:
    """Return why the data of an event breaks the rule, None if it does not; see `check`."""
    try:
        check(document, levels)
    except Malformed as exc:
        return str(exc)
    return None


def is_suspicious(documents: bytes, longest: int) -> bool:
    """Whether one of these JSON documents may break the rule, so that `check` must look at each.

    `documents` is UTF-8 text whose documents have white space between them; `longest` is the size of the longest one.
    msgspec checks their syntax, and refuses lone surrogates, `NaN` and `Infinity`.
    """
    return (
        _has_exponent(documents)
        or _has_long_run(documents)
        or (longest >= SMALLEST_NESTED and _may_be_nested(documents, longest))
    )


def _has_long_run(text: bytes) -> bool:
    """Whether there are so many digits in a row that they may be a number out of range."""
    return _SAMPLED_RUN in text[::_STRIDE].translate(_DIGITS) and _LONG_RUN in text.translate(_DIGITS)


def _may_be_nested(documents: bytes, longest: int) -> bool:
    if longest < _SMALLEST_OF_OBJECTS and not _has_dense_arrays(documents):
        return False
    return documents.count(b"{") + documents.count(b"[") >= DATA_LEVELS


def _breaks_rule(document: bytes, levels: int) -> bool:
    """Whether a valid JSON document breaks the rule; true as well of digits that are no number."""
    if _has_exponent(document):
        try:
            _decode(document)
        except msgspec.DecodeError:
            return True
    return _has_long_run(document) or _is_deeper(document, levels)


def _is_deeper(document: bytes, levels: int) -> bool:
    """Whether a valid JSON document has more than so many nested objects and arrays."""
    if len(document) < 2 * levels or document.count(b"{") + document.count(b"[") <= levels:
        return False
    plain = b"".join(document.split(b'"')[::2]) if b"\\" not in document else _STRING.sub(b"", document)
    brackets = plain.translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(_PASSES):  # each removes the innermost level; few documents have more
        brackets = brackets.replace(b"[]", b"")
    return max(itertools.accumulate(1 if code == _OPEN else -1 for code in brackets), default=0) + _PASSES > levels
