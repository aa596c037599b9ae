"""Sums over the items of an array, as mappings of orders have: `$sum(lines.price)`, `$sum(lines.(quantity * price))`.

Only the numbers that are added are decoded. They are doubles, added in the order of the items, as JSONata does, so that
the sum is the same to the last digit. What is not a plain array of objects with these numbers is left to JSONata.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from shared.events.strict_json import searcher
from shared.expression.document import Document
from shared.expression.nodes import Node, Raw
from shared.expression.plain.terms import Term, Undecided, member

_LIMIT = 2.0**53
"""Below it, a double holds every integer."""
_SMALLEST = 1e-4
"""From here on up to the limit, a number is written without an exponent."""

_Number = Annotated[float, msgspec.Meta(gt=-_LIMIT, lt=_LIMIT)]

_ARRAY = ord("[")

# Of what does not match, a double holds each number as it is written; see `exact`.
_may_be_inexact = searcher(r"[0-9.]{16}|[eE]-[0-9]{3}")


def summed(array: Sequence[str], factors: Sequence[str]) -> Term:
    """The sum of a member of each item of the array at a path, or of the product of two members."""
    value_of = member(array).value
    fields: list[tuple[str, Any]] = [("one", _Number), ("other", _Number)]
    names = dict(zip(("one", "other"), factors, strict=False))
    item = msgspec.defstruct("Item", fields[: len(factors)], rename=names, gc=False)
    decode = msgspec.json.Decoder(list[item]).decode  # type: ignore[valid-type]  # made above
    single = len(factors) == 1

    def scalar(document: Document) -> float | None:
        node = value_of(document)
        if node is None:
            return None
        items = _decoded(decode, node)
        total = 0.0
        if single:
            for each in items:
                total += each.one
        else:
            for each in items:
                total += each.one * each.other
        return _written_alike(total) if items else None

    def value(document: Document) -> Node | None:
        found = scalar(document)
        return None if found is None else Raw(repr(found).encode())

    def test(document: Document) -> bool | None:
        found = scalar(document)
        return None if found is None else found != 0

    return Term(value, scalar, test)


def _decoded(decode: Any, node: Node) -> Any:
    """Return the items of an array.

    Raises:
        Undecided: it is not an array of objects with these numbers, or JSONata would alter one of the numbers.
    """
    written = bytes(node)  # type: ignore[arg-type]  # `value` of a member is text
    if written[0] != _ARRAY or _may_be_inexact(written):
        raise Undecided
    try:
        return decode(written)
    except msgspec.ValidationError:
        raise Undecided from None


def _written_alike(total: float) -> float:
    """Return a number as Python and JSONata write it.

    Raises:
        Undecided: they write it differently.
    """
    if total.is_integer():
        if abs(total) < _LIMIT:
            return int(total)
    elif abs(total) >= _SMALLEST:
        return total
    raise Undecided
