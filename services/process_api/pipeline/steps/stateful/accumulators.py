"""What an aggregate computes: functions over the values of one expression, exact for all numbers. Sans-I/O.

An accumulator is a list of JSON texts, so that it can be stored, and merged with another one.
"""

import math
from collections.abc import Callable
from decimal import Context, Decimal, Overflow
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field, model_validator

from services.process_api.pipeline.draft import Draft
from shared.errors import Malformed
from shared.expression.expression import Expression
from shared.expression.settings import ExpressionText
from shared.settings import Options

Parts: TypeAlias = list[bytes]

_DIGITS = 100
_LONGEST_NUMBER = 1000
_SHORT = 18
_LONGEST = 65_536
"""Bytes of the largest value that `first` and `last` keep."""

_context = Context(prec=_DIGITS, Emax=308, Emin=-4000, traps=[Overflow])
_quotient = Context(prec=17)


class Function(Options):
    """One function over an expression."""

    sum: ExpressionText | None = None
    """The sum; exact up to 100 digits."""
    min: ExpressionText | None = None
    """The smallest number."""
    max: ExpressionText | None = None
    """The largest number."""
    avg: ExpressionText | None = None
    """The mean, with 17 digits."""
    first: ExpressionText | None = None
    """The value of the oldest event by its time; of those of one time, of the one that came first."""
    last: ExpressionText | None = None
    """The value of the newest event by its time; of those of one time, of the one that came last."""

    @model_validator(mode="after")
    def _one(self) -> "Function":
        if len(self.model_fields_set) != 1:
            raise ValueError("expected one of sum, min, max, avg, first and last with an expression, or the word count")
        return self

    @property
    def name(self) -> str:
        """The function."""
        (name,) = self.model_fields_set
        return name

    @property
    def expression(self) -> str:
        """What it is applied to."""
        found: str = getattr(self, self.name)
        return found


Value: TypeAlias = Annotated[Literal["count"] | Function, Field(union_mode="left_to_right")]
"""`count`: how many events; or a function over an expression. Events for which it is undefined are left out."""


class Accumulator(NamedTuple):
    """One function."""

    make: Callable[[bytes, int], Parts]
    """Returns the accumulator of one value at a time."""
    merge: Callable[[Parts, Parts], Parts]
    """Returns the accumulator of two; the second one came later."""
    result: Callable[[Parts], bytes]
    """Returns the value as JSON; there was at least one."""


def _number(value: bytes) -> int | Decimal:
    if len(value) <= _SHORT and value.isdigit():  # nearly always of counts
        return int(value)
    text = value.decode()
    if value[:1] not in b"-0123456789" or len(text) > _LONGEST_NUMBER:
        raise Malformed(f"found {text[:40]}, expected a number of at most {_LONGEST_NUMBER} characters")
    return Decimal(text) if set(text) & set(".eE") else int(text)


def _written(number: int | Decimal) -> bytes:
    return str(number).encode()


def _sum(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    try:
        return _context.add(Decimal(one), Decimal(other))
    except Overflow as exc:
        raise Malformed("the sum is out of range") from exc


def _keep(parts: Parts) -> bytes:
    return parts[0]


def _make_number(value: bytes, _at: int) -> Parts:
    # Another producer's event may hold one. The result would be none that can be published, or none at all.
    if value[:1] in b"-0123456789" and len(value) <= _LONGEST_NUMBER and math.isinf(float(value)):
        raise Malformed(f"found {value[:40].decode()}, expected at most 1.8e308, the range of a double")
    return [_written(_number(value))]


def _make_dated(value: bytes, at: int) -> Parts:
    if len(value) > _LONGEST:
        raise Malformed(f"a value of {len(value)} bytes, the limit is {_LONGEST}")
    return [value, b"%d" % at]


def _add(one: Parts, other: Parts) -> Parts:
    return [_written(_sum(_number(left), _number(right))) for left, right in zip(one, other, strict=True)]


def _mean(parts: Parts) -> bytes:
    total, count = map(_number, parts)
    return _written(_quotient.divide(Decimal(total), Decimal(count)).normalize(_quotient))


ACCUMULATORS = {
    "count": Accumulator(lambda _value, _at: [b"1"], _add, _keep),
    "sum": Accumulator(_make_number, _add, _keep),
    "min": Accumulator(_make_number, lambda one, other: min(one, other, key=lambda parts: _number(parts[0])), _keep),
    "max": Accumulator(_make_number, lambda one, other: max(one, other, key=lambda parts: _number(parts[0])), _keep),
    "avg": Accumulator(lambda value, at: [*_make_number(value, at), b"1"], _add, _mean),
    "first": Accumulator(_make_dated, lambda one, other: min(one, other, key=lambda parts: int(parts[1])), _keep),
    "last": Accumulator(_make_dated, lambda one, other: max(other, one, key=lambda parts: int(parts[1])), _keep),
}


class Computed:
    """One named value of an aggregate."""

    def __init__(self, name: str, value: Value) -> None:
        self.name = name
        function = value if isinstance(value, str) else value.name
        self.accumulator = ACCUMULATORS[function]
        self._expression = None if isinstance(value, str) else Expression(value.expression)

    def of(self, draft: Draft, at: int) -> Parts | None:
        """Return the accumulator of one event; None where the expression is undefined or null.

        Raises:
            Malformed: the expression fails, or the function does not take its value.
        """
        value = b"1" if self._expression is None else self._expression.value(draft)
        if value is None or value == b"null":
            return None
        try:
            return self.accumulator.make(value, at)
        except Malformed as exc:
            raise Malformed(f"values.{self.name}: {exc}") from exc

    def merged(self, one: Parts | None, other: Parts | None) -> Parts | None:
        """Return the accumulator of two; None of two that have none."""
        if one is None or other is None:
            return other if one is None else one
        try:
            return self.accumulator.merge(one, other)
        except Malformed as exc:
            raise Malformed(f"values.{self.name}: {exc}") from exc
