"""The parts of plain expressions, evaluated as JSONata does, without JSONata and exactly.

Where JSONata has rules of its own (arrays on a path, the order of texts that are not ASCII), a term raises `Undecided`,
and JSONata evaluates instead. A term never gives another result; it is faster and keeps numbers as they are.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, TypeGuard

import msgspec

from shared.events.event import json_string
from shared.expression.document import Document
from shared.expression.exact import Number, is_short, number, ordered
from shared.expression.nodes import Members, Node, Raw, child, parsed, text


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
_OBJECT, _ARRAY = b"{["
_decode = msgspec.json.Decoder(str | int | float | bool | None).decode

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
    constant: Scalar | None = None
    """The value of a literal, so that it need not be called for; None for any other part."""


def literal(value: Scalar, written: bytes) -> Term:
    """A literal of the expression."""
    raw, truth = Raw(written), _truth(value)
    return Term(lambda _document: raw, lambda _document: value, lambda _document: truth, value)


def member(names: Sequence[str]) -> Term:
    """A path into the entity."""
    *parents, last = names
    if not parents:
        return _member_of_root(last)

    def look(document: Document) -> Node | None:
        node = document.data()
        for name in parents:
            if type(node) is not dict:
                break
            node = child(node, name)
        return node.get(last) if type(node) is dict else _in_no_object(node)

    return _of_value(look)


def _member_of_root(name: str) -> Term:
    """A member of the entity itself: the most common path."""

    def look(document: Document) -> Node | None:
        root = document.data()
        return root.get(name) if type(root) is dict else _in_no_object(root)

    def scalar(document: Document) -> Scalar | None:  # without `look`, as calls are most of the cost
        root = document.data()
        return _scalar(root.get(name) if type(root) is dict else _in_no_object(root))

    return replace(_of_value(look), scalar=scalar)


def attribute(name: str) -> Term:
    """An attribute of the event, from `$event.name`."""

    def look(document: Document) -> Node | None:
        return None if name == "data_base64" else document.attributes().get(name)

    return _of_value(look)


def constructed(members: Mapping[str, Term | None], rest: Callable[[Document], bytes | None] | None = None) -> Term:
    """An object of these members in this order, without those that are undefined.

    Those that are None here are in the object that `rest` returns.
    """
    values = [(name, None if term is None else term.value) for name, term in members.items()]

    def build(document: Document) -> Node | None:
        if type(document.data()) is not dict:
            raise Undecided
        others: Node = {} if rest is None else parsed(rest(document) or b"{}")
        assert type(others) is dict, "it is an object of the others"
        made: Members = {}
        for name, value in values:
            node = others.get(name) if value is None else value(document)
            if node is not None:
                made[name] = node
        return Raw(text(made))

    return _of_value(build)


def joined(parts: Sequence[Term]) -> Term:
    """The concatenation of texts; an undefined one is empty."""
    terms = [(part.constant, part.scalar) for part in parts]

    def join(document: Document) -> str:
        texts: list[str] = []
        for constant, scalar in terms:
            found = scalar(document) if constant is None else constant
            texts.append(found if type(found) is str else _joinable(found))
        return "".join(texts)

    return Term(lambda document: Raw(json_string(join(document))), join, lambda document: bool(join(document)))


def equals(left: Term, right: Term, *, wanted: bool) -> Term:
    """Whether two values are equal, or with `wanted` false, unequal; false in both cases if one is undefined."""
    one_of, other_of, constant = left.scalar, right.scalar, right.constant

    def test(document: Document) -> bool:
        one = one_of(document)
        other = other_of(document) if constant is None else constant
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
    one_of, other_of, constant = left.scalar, right.scalar, right.constant

    def test(document: Document) -> bool | None:
        one = one_of(document)
        other = other_of(document) if constant is None else constant
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
    try:
        found = _decode(node)
    except msgspec.ValidationError:
        if memoryview(node)[0] in {_OBJECT, _ARRAY}:
            raise Undecided from None
        return number(bytes(node))  # out of the range of a double
    if type(found) is float and not is_short(written := bytes(node)):
        return number(written)
    return NULL if found is None else found


def _in_no_object(node: Node | None) -> Node | None:
    """Return the member of what is no object: a scalar has none; an array has those of its items."""
    if node is not None and (type(node) is not Raw or memoryview(node)[0] == _ARRAY):
        raise Undecided
    return None


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
    """Return a value that is no text as `&` joins it."""
    if value is None:
        return ""
    if type(value) is int:
        return str(value)
    raise Undecided
