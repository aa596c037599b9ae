"""Numbers that must not change: which of them JSONata would alter, and how to compare and decode them exactly.

JSONata's numbers are doubles: `9007199254740993` comes out of it as `9007199254740992`, and nothing says so. What is
asked here of every text that JSONata is to see costs about a microsecond a kilobyte where all is well.
"""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from re import compile as pattern
from typing import Any

import msgspec

from shared.errors import Malformed

Number = int | float | Decimal

_SHAPE = bytes(
    ord("0") if chr(code) in "0123456789." else ord("e") if chr(code) in "eE" else ord(" ") for code in range(256)
)
"""Maps a text to its shape: digits and points, the letter of exponents, all else."""

# A double holds every number of 15 digits, and with its point that is 16 characters. An exponent can hide digits.
_LONG = b"0" * 16
_EXPONENT = b"0e"

_NUMBER = pattern(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER_PARTS = frozenset(b"0123456789.eE+-")
_FRACTION = frozenset(b".eE")
_TOKEN = pattern(rb'"(?:[^"\\]|\\.)*"|' + _NUMBER.pattern)

_WHOLE_LIMIT = 2**53
"""Up to here a double holds every whole number."""
_HUGE = 2.0**64
"""From here on jsonatapy writes a number that came with an exponent as it came; in between, and without, it varies."""

_SHOWN = 40

_decode = msgspec.json.Decoder().decode


def inexact(text: bytes) -> bytes | None:
    """Return the first number in a valid JSON text that JSONata would alter, None if it keeps them all."""
    shape = text.translate(_SHAPE)
    if _LONG not in shape and _EXPONENT not in shape:
        return None
    if all(_kept(token) for token in _candidates(text, shape)):
        return None
    # Seldom: digits like these may stand in a string, as account numbers do, and there they are safe.
    return next((token for token in _TOKEN.findall(text) if token[:1] != b'"' and not _kept(token)), None)


def value(text: bytes) -> Any:
    """Decode a valid JSON text for Python code, every number exactly: a fraction that no float holds is a Decimal.

    Raises:
        Malformed: a number is out of the range of Decimal, or has more than 4300 digits.
    """
    shape = text.translate(_SHAPE)
    decode = _decode_exactly if _LONG in shape or _EXPONENT in shape else _decode
    try:
        return decode(text)
    except msgspec.DecodeError as exc:
        raise Malformed(f"a number is out of range: {exc}") from exc


def number(token: bytes) -> Number:
    """Decode one JSON number for `ordered`.

    Raises:
        Malformed: as for `value`.
    """
    if len(token) >= len(_LONG) and _FRACTION & set(token):
        return _decimal(token.decode())
    found: int | float = value(token)
    return found


def ordered(left: Number, right: Number) -> tuple[Number, Number]:
    """Make two numbers comparable by what is written: 0.1 is a tenth, not the double beside it."""
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return Decimal(str(left)), Decimal(str(right))
    return left, right


def _candidates(text: bytes, shape: bytes) -> Iterator[bytes]:
    """Find what may be long numbers or have exponents, parts of strings among them."""
    for sign in (_LONG, _EXPONENT):
        at = shape.find(sign)
        while at >= 0:
            start, end = at, at + len(sign)
            while start and text[start - 1] in _NUMBER_PARTS:
                start -= 1
            while end < len(text) and text[end] in _NUMBER_PARTS:
                end += 1
            yield text[start:end]
            at = shape.find(sign, end)


def _kept(token: bytes) -> bool:
    """Whether JSONata writes a number of the same value; what is no number is none that it could alter."""
    if not _NUMBER.fullmatch(token):
        return True
    nearest = float(token)
    if nearest.is_integer() and abs(nearest) > _WHOLE_LIMIT and (abs(nearest) < _HUGE or not _FRACTION & set(token)):
        return False
    try:
        return Decimal(repr(nearest)) == Decimal(token.decode())
    except InvalidOperation:
        return False


def _float_or_decimal(token: str) -> float | Decimal:
    nearest, written = float(token), _decimal(token)
    return nearest if Decimal(repr(nearest)) == written else written


def _decimal(token: str) -> Decimal:
    try:
        return Decimal(token)
    except InvalidOperation as exc:
        raise Malformed(f"the number {token[:_SHOWN]} is out of range") from exc


_decode_exactly = msgspec.json.Decoder(float_hook=_float_or_decimal).decode
