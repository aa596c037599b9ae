"""One expression, answered in the cheapest way that is right: plainly, by JSONata, or in parts that stay exact."""

import functools
from typing import Any

import msgspec

from services.process_api.draft import Draft, Node, Raw, text
from services.process_api.expression import narrowing, plain
from services.process_api.expression.exact import inexact
from services.process_api.expression.jsonata import Jsonata
from services.process_api.expression.terms import Undecided
from shared.errors import Malformed

_any_value = msgspec.json.Decoder().decode
_string = msgspec.json.Decoder(str).decode

_DATA = frozenset({"data", "data_base64"})


class Expression:
    """A JSONata expression over events. Belongs to the thread that made it."""

    def __init__(self, expression: str) -> None:
        """Compile it.

        Raises:
            ValueError: it does not compile.
        """
        self._plain = plain.read(expression)
        self._parts = _Parts(expression)

    def value(self, draft: Draft) -> Node | None:
        """Return what it gives for an event, never taken apart; None where JSONata's result is undefined.

        Raises:
            Malformed: the evaluation failed, or could not have been exact.
        """
        if self._plain is not None:
            try:
                return self._plain.value(draft)
            except Undecided:
                pass
        return self._parts.value(draft)

    def text(self, draft: Draft) -> str | None:
        """Return what it gives where that is text, None for undefined.

        Raises:
            Malformed: as for `value`, or it gives something else.
        """
        found = self.value(draft)
        if found is None:
            return None
        written = text(found)
        if written[:1] != b'"':
            raise Malformed(f"the expression gives {written[:80].decode(errors='replace')}, expected text")
        return _string(written)


class Condition:
    """A JSONata expression that an event satisfies or not. Belongs to the thread that made it."""

    def __init__(self, expression: str) -> None:
        """Compile it.

        Raises:
            ValueError: it does not compile.
        """
        self._plain = plain.read(expression)
        self._parts = _Parts(f"$boolean(({expression}\n))")

    def holds(self, draft: Draft) -> bool:
        """Whether JSONata takes what it gives for true; undefined is not.

        Raises:
            Malformed: the evaluation failed, or could not have been exact.
        """
        if self._plain is not None:
            try:
                return bool(self._plain.test(draft))
            except Undecided:
                pass
        found = self._parts.value(draft)
        return found is not None and text(found) == b"true"


class _Parts:
    """An expression that JSONata answers, and its parts where the whole could not be exact."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._jsonata = Jsonata(expression)
        self._wants_event = "$event" in expression
        self._names_its_members = narrowing.names_its_members(expression)

    def value(self, draft: Draft) -> Node | None:
        data = draft.data_text()
        event = _attributes(draft) if self._wants_event else None
        if data is not None and (number := inexact(data)) is not None:
            return self._exactly(draft, number, event)
        return _raw(self._jsonata.evaluate(data, event))

    def _exactly(self, draft: Draft, number: bytes, event: dict[str, Any] | None) -> Node | None:
        """Answer for an entity that holds a number that JSONata would alter."""
        members = draft.data
        if isinstance(members, dict) and self._names_its_members:
            seen = text(narrowing.narrowed(members, self._expression))
            found = inexact(seen)
            if found is None:
                return _raw(self._jsonata.evaluate(seen, event))
            number = found
        if isinstance(members, dict) and self._members is not None:
            built = {name: member.value(draft) for name, member in self._members.items()}
            return Raw(text({name: node for name, node in built.items() if node is not None}))
        raise Malformed(
            f"the data holds {number[:80].decode()}, which JSONata would alter;"
            " copy or compare that member by itself, or use set, drop, rename or python"
        )

    @functools.cached_property
    def _members(self) -> dict[str, Expression] | None:
        """The members of the object that it builds, each an expression of its own; compiled when first needed."""
        members = narrowing.split(self._expression)
        try:
            return None if members is None else {name: Expression(part) for name, part in members.items()}
        except ValueError:
            return None  # cut in the wrong place


def _raw(found: bytes | None) -> Node | None:
    return None if found is None else Raw(found)


def _attributes(draft: Draft) -> dict[str, Any]:
    """Return what `$event` holds.

    Raises:
        Malformed: an attribute is a number that JSONata would alter.
    """
    attributes = {name: text(node) for name, node in draft.attributes.items() if name not in _DATA}
    for name, written in attributes.items():
        if written[:1] != b'"' and inexact(written) is not None:
            raise Malformed(f"attribute {name!r} is {written[:80].decode()}, which JSONata would alter")
    return {name: _any_value(written) for name, written in attributes.items()}
