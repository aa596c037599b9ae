"""Predicates of authors who are not trusted, such as subscribers: time and memory are bounded by the size of the event.

They are the plain expressions that neither copy nor add up: comparisons of members, attributes, texts and numbers.
JSONata gives the same results for them, and is not needed.
"""

import re

from shared.errors import Malformed
from shared.expression.document import Document
from shared.expression.plain import grammar
from shared.expression.plain.terms import Undecided

LONGEST = 1000
"""Characters of a predicate."""

_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'|`[^`]*`')
_UNBOUNDED = re.compile(r"[&{]|\$sum\b")
_SHOWN = 20
_EXPECTED = (
    "comparisons (=, !=, <, <=, >, >=, in [...]) of members, $event attributes, texts and numbers, with and, or,"
    " $not(...) and $exists(...)"
)


class BoundedPredicate:
    """A predicate that takes no more time or memory than a parser of the event."""

    __slots__ = ("_term",)

    def __init__(self, expression: str) -> None:
        """Compile it.

        Raises:
            Malformed: it is too long, or not such a predicate; the text names the position, from 1 on.
        """
        if len(expression) > LONGEST:
            raise Malformed(f"found {len(expression)} characters; the limit is {LONGEST}")
        bare = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), expression)
        unbounded = _UNBOUNDED.search(bare)
        term = grammar.parse(expression)
        if term is None or unbounded is not None:
            at = grammar.extent(expression) if unbounded is None else min(unbounded.start(), grammar.extent(expression))
            found = repr(expression[at : at + _SHOWN]) if at < len(expression) else "the end"
            raise Malformed(f"position {at + 1}: found {found}; expected {_EXPECTED}")
        self._term = term

    def holds(self, document: Document) -> bool:
        """Whether it is true for an event, as `$boolean` says; undefined is not.

        Raises:
            Malformed: it compares what has no order, or looks into an array.
        """
        try:
            return bool(self._term.test(document))
        except Undecided as exc:
            raise Malformed("the predicate compares values without an order, or looks into an array") from exc
