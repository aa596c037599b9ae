"""The parts of plain expressions, evaluated as JSONata does, without JSONata and exactly.

Where JSONata has rules of its own (arrays on a path, the order of texts that are not ASCII), a term raises `Undecided`,
and JSONata evaluates instead. A term never gives another result; it is faster and keeps numbers as they are.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeGuard

import msgspec

from shared.events.event import json_string
from shared.expression.document import Document
from shared.expression.exact import Number, number, ordered
from shared.expression.nodes import Node, Raw, child, text


class Undecided(Exception):
    """Only JSONata can evaluate this."""


class Null:
    """JSON's null; None is JSONata's undefined."""


Scalar = str | Number | bool | Null

NULL: Final = Null()
TRUE: Final = Raw(b"true")
FALSE: Final = Raw(b"false")

_NUMBERS = (int, float, Decimal)
_SHORT = frozenset({int, float})
"""Types that are compared directly; a Decimal is not."""
_OBJECT, _ARRAY, _QUOTE, _TRUE, _NULL = b'{["tn'
_DIGITS = frozenset(b"-0123456789")
_string = msgspec.json.Decoder(str).decode

ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Term:
    """A part of an expression, with three ways to evaluate it. Each raises `Undecided` where only JSONata can."""

    value: Callable[[Document], Node | None]
    """The JSON value as text, so that it can be copied; None for undefined."""
    scalar: Callable[[Document], Scalar | None]
    """The value where it is neither an object nor an array."""
    test: Callable[[Document], bool | None]
    """Whether it is true as `$boolean` says."""


def literal(value: Scalar, written: bytes) -> Term:
    """A literal of the expression."""
    raw, truth = Raw(written), _truth(value)
    return Term(lambda _document: raw, lambda _document: value, lambda _document: truth)


def member(names: Sequence[str]) -> Term:
    """A path into the entity."""
    *parents, last = names

    def look(document: Document) -> Node | None:
        node = document.data()
        for name in parents:
            if type(node) is not dict:
                break
            node = child(node, name)
        if type(node) is dict:
            return node.get(last)
        if node is not None and (type(node) is not Raw or memoryview(node)[0] == _ARRAY):
            raise Undecided  # an array has the members of its items; a scalar has none
        return None

    return _of_value(look)


def attribute(name: str) -> Term:
    """An attribute of the event, from `$event.name`."""

    def look(document: Document) -> Node | None:
        return None if name == "data_base64" else document.attributes().get(name)

    return _of_value(look)


def constructed(members: Mapping[str, Term]) -> Term:
    """An object of these members, without those that are undefined."""

    def build(document: Document) -> Node | None:
        if type(document.data()) is not dict:
            raise Undecided
        found = {name: term.value(document) for name, term in members.items()}
        return Raw(text({name: node for name, node in found.items() if node is not None}))

    return _of_value(build)


def joined(parts: Sequence[Term]) -> Term:
    """The concatenation of texts; an undefined one is empty."""
    scalars = [part.scalar for part in parts]

    def join(document: Document) -> str:
        return "".join([_joinable(scalar(document)) for scalar in scalars])

    return Term(lambda document: Raw(json_string(join(document))), join, lambda document: bool(join(document)))


def equals(left: Term, right: Term, *, wanted: bool) -> Term:
    """Whether two values are equal, or with `wanted` false, unequal; false in both cases if one is undefined."""
    one_of, other_of = left.scalar, right.scalar

    def test(document: Document) -> bool:
        one, other = one_of(document), other_of(document)
        if type(one) is str and type(other) is str:
            return (one == other) is wanted
        return one is not None and other is not None and _same(one, other) is wanted

    return _of_test(test)


def among(left: Term, choices: Sequence[Scalar]) -> Term:
    """Whether a value is one of some literals."""

    def test(document: Document) -> bool:
        found = left.scalar(document)
        return found is not None and any(_same(found, choice) for choice in choices)

    return _of_test(test)


def compared(sign: str, left: Term, right: Term) -> Term:
    """A comparison of two values by `<`, `<=`, `>` or `>=`."""
    decide = ORDERS[sign]
    one_of, other_of = left.scalar, right.scalar

    def test(document: Document) -> bool | None:
        one, other = one_of(document), other_of(document)
        if type(one) in _SHORT and type(other) in _SHORT:
            return decide(one, other)
        if _is_number(one) and _is_number(other):
            return decide(*ordered(one, other))
        if not _is_orderable(one) or not _is_orderable(other):
            raise Undecided
        if one is None or other is None:
            return None
        if type(one) is str and type(other) is str and one.isascii() and other.isascii():
            return decide(one, other)
        raise Undecided

    return _of_test(test)


def every(parts: Sequence[Term]) -> Term:
    """`and`."""
    tests = [part.test for part in parts]

    def test(document: Document) -> bool:
        for holds in tests:  # noqa: SIM110 -- a generator costs twice as much, and every event comes through here
            if not holds(document):
                return False
        return True

    return _of_test(test)


def some(parts: Sequence[Term]) -> Term:
    """`or`."""
    tests = [part.test for part in parts]
    return _of_test(lambda document: any(holds(document) for holds in tests))


def negated(part: Term) -> Term:
    """`$not(…)`; of undefined, undefined."""

    def test(document: Document) -> bool | None:
        found = part.test(document)
        return None if found is None else not found

    return _of_test(test)


def existing(part: Term) -> Term:
    """`$exists(…)`."""
    return _of_test(lambda document: part.value(document) is not None)


def _of_value(look: Callable[[Document], Node | None]) -> Term:
    def value(document: Document) -> Node | None:
        node = look(document)
        # Two places must not share a value that may be changed in one of them.
        return node if node is None or type(node) is Raw else Raw(text(node))

    def scalar(document: Document) -> Scalar | None:
        return _scalar(look(document))

    def test(document: Document) -> bool | None:
        return _truth(_scalar(look(document)))

    return Term(value, scalar, test)


def _of_test(test: Callable[[Document], bool | None]) -> Term:
    def value(document: Document) -> Node | None:
        found = test(document)
        return None if found is None else TRUE if found else FALSE

    return Term(value, test, test)


def _scalar(node: Node | None) -> Scalar | None:
    if node is None:
        return None
    if type(node) is not Raw:
        raise Undecided
    first = memoryview(node)[0]
    if first == _QUOTE:
        return _string(node)
    if first in _DIGITS:
        return number(bytes(node))
    if first in {_OBJECT, _ARRAY}:
        raise Undecided
    return NULL if first == _NULL else first == _TRUE


def _truth(value: Scalar | None) -> bool | None:
    """Return what `$boolean` does: null, false, zero and the empty text are false, undefined is None."""
    return None if value is None else value is not NULL and bool(value)


def _same(one: Scalar, other: Scalar) -> bool:
    if _is_number(one) and _is_number(other):
        one, other = ordered(one, other)
        return one == other
    return type(one) is type(other) and one == other


def _is_number(value: Scalar | None) -> TypeGuard[Number]:
    return isinstance(value, _NUMBERS) and type(value) is not bool


def _is_orderable(value: Scalar | None) -> bool:
    return value is None or type(value) is str or _is_number(value)


def _joinable(value: Scalar | None) -> str:
    if value is None:
        return ""
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise Undecided
