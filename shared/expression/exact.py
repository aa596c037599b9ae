"""Numbers that must not change: which of them JSONata would alter, and how to compare and decode them exactly.

JSONata's numbers are doubles: `9007199254740993` becomes `9007199254740992` without an error. The check of each text
before JSONata costs about a microsecond for 1 KB where no number is suspicious.
"""

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from re import Pattern
from re import compile as pattern
from typing import Any

import msgspec

from shared.errors import Malformed
from shared.events.strict_json import searcher

Number = int | float | Decimal

_SHAPES = {
    **dict.fromkeys("0123456789.", "0"),
    **dict.fromkeys("eE", "e"),
    **dict.fromkeys(":,[ \t\r\n", ":"),
    "-": "-",
}
_SHAPE = "".join(_SHAPES.get(chr(code), "x") for code in range(256)).encode()
"""Maps a text to its shape: digits and points, exponent letters, characters that may precede a number, all others."""

# A double holds every number of 15 digits, which is 16 characters with a point. An exponent can hide digits.
_LONG_LENGTH = 16
_LONG, _LONG_NUMBER = b"0" * _LONG_LENGTH, pattern(rb":-?0{%d}" % _LONG_LENGTH)
_EXPONENT, _EXPONENT_NUMBER = b"0e", pattern(rb":-?0+e")
_may_be_altered = searcher(r"[0-9.]{16}|(?:^|[:,\[ \t\r\n-])[0-9.]+[eE]")

# Hexadecimal digits look like exponents as well. A literal prefix is found ten times faster than `:-?`.
_POSITIVE, _NEGATIVE = pattern(rb":00*e").search, pattern(rb":-00*e").search

_NUMBER = pattern(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER_PARTS = frozenset(b"0123456789.eE+-")
_FRACTION = frozenset(b".eE")
_TOKEN = pattern(rb'"(?:[^"\\]|\\.)*"|' + _NUMBER.pattern)

_WHOLE_LIMIT, _WHOLE_DIGITS = 2**53, 16
"""A double holds every integer up to here."""
_HUGE = 2.0**64
"""From here on, jsonatapy keeps a number with an exponent as it came; between the limits, or without one, it varies."""

_LARGEST_EXPONENT = 308
"""Of a double."""

_SHOWN = 40

_ALL_DIGITS = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)

_decode = msgspec.json.Decoder().decode
_encode_sorted = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


def inexact(text: bytes) -> bytes | None:
    """Return the first number in a valid JSON text that JSONata would alter, None if it keeps them all."""
    if not _may_be_altered(text):
        return None
    shape = b":" + text.translate(_SHAPE)
    if _LONG in shape and _altered(text, shape, _LONG_NUMBER):
        return _first_altered(text)
    exponent = _EXPONENT in shape and (_POSITIVE(shape) or _NEGATIVE(shape))
    if exponent and _altered(text, shape, _EXPONENT_NUMBER):
        return _first_altered(text)
    return None


def value(text: bytes) -> Any:
    """Decode valid JSON text with exact numbers: a fraction that no float holds becomes a Decimal.

    Raises:
        Malformed: a number is out of the range of Decimal, or has more than 4300 digits.
    """
    decode = _decode_exactly if _may_be_altered(text) else _decode
    try:
        return decode(text)
    except msgspec.DecodeError as exc:
        raise Malformed(f"a number is out of range: {exc}") from exc


def number(token: bytes) -> Number:
    """Decode one JSON number for `ordered`.

    Raises:
        Malformed: as for `value`.
    """
    if not is_short(token):
        return _decimal(token.decode()) if _FRACTION & set(token) else value(token)
    short: int | float = _decode(token)
    return short


def comparable(decoded: Any) -> Any:
    """Return a decoded JSON value in a form that `==` compares as JSON: `true` is not 1, and 0.1 is a tenth."""
    if isinstance(decoded, bool):
        return (decoded,)
    if isinstance(decoded, float):
        return Decimal(str(decoded))
    if isinstance(decoded, list):
        return list(map(comparable, decoded))
    if isinstance(decoded, dict):
        return dict(zip(decoded, map(comparable, decoded.values()), strict=True))
    return decoded


def whole(number: Number) -> int | None:
    """Return a number as an integer; None where it has a fraction, or overflows a double.

    The integer of a number such as 1e999999999 would take hundreds of megabytes, and hours.
    """
    if isinstance(number, int):
        return number
    written = Decimal(str(number))
    if not written.is_finite() or (written and not 0 <= written.adjusted() <= _LARGEST_EXPONENT):
        return None
    found = int(written)
    return found if found == written else None


def normalized(decoded: Any) -> Any:
    """Return a decoded JSON value in which equal numbers are written alike: those without a fraction are integers."""
    if isinstance(decoded, dict):
        return {name: normalized(member) for name, member in decoded.items()}
    if isinstance(decoded, list):
        return [normalized(item) for item in decoded]
    if not isinstance(decoded, float | Decimal):
        return decoded
    found = whole(decoded)
    if found is not None:
        return found
    return decoded.normalize(_ALL_DIGITS) if isinstance(decoded, Decimal) else decoded


def canonical(text: bytes) -> bytes:
    """Return the JSON text of a value that all equal values have: of 1, 1.0 and 1e0, or of an object in any order.

    Raises:
        Malformed: as for `value`.
    """
    first = text[:1]
    plain = b"\\" not in text if first == b'"' else text.isdigit() or first in {b"t", b"f", b"n"}
    return text if plain else _encode_sorted(normalized(value(text)))


def is_short(token: bytes) -> bool:
    """Whether a JSON number has no exponent, and so few digits that a double holds it as written."""
    return len(token) < _LONG_LENGTH and b"e" not in token and b"E" not in token


def ordered(left: Number, right: Number) -> tuple[Number, Number]:
    """Make two numbers comparable as written: 0.1 is a tenth, not the nearest double."""
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return Decimal(str(left)), Decimal(str(right))
    return left, right


def _altered(text: bytes, shape: bytes, form: Pattern[bytes]) -> bool:
    """Whether a match of this form is a number that would be altered."""
    for suspect in form.finditer(shape):
        start = end = suspect.start()
        while end < len(text) and text[end] in _NUMBER_PARTS:
            end += 1
        if not _kept(text[start:end]):
            return True
    return False


def _first_altered(text: bytes) -> bytes | None:
    """Return the first number outside strings that would be altered."""
    return next((token for token in _TOKEN.findall(text) if token[:1] != b'"' and not _kept(token)), None)


def _kept(token: bytes) -> bool:
    """Whether JSONata keeps the value of a number; true of a token that is not a number."""
    if token.isdigit():
        return len(token) <= _WHOLE_DIGITS and int(token) <= _WHOLE_LIMIT
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
