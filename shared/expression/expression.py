"""One expression, evaluated in the cheapest correct way: as a plain one, by JSONata, or member by member."""

import functools
from typing import Any

import msgspec

from shared.errors import Malformed
from shared.expression import narrowing
from shared.expression.document import Document
from shared.expression.exact import inexact
from shared.expression.jsonata import Jsonata
from shared.expression.nodes import Raw, text
from shared.expression.plain import grammar, terms
from shared.expression.plain.terms import Term, Undecided

_LARGE, _LITTLE = 512, 2
"""Of an entity of so many bytes, the members that are named are selected first where they are at most one half."""

_any_value = msgspec.json.Decoder().decode
_string = msgspec.json.Decoder(str).decode


class Inexact(Malformed):
    """JSONata would have altered a number."""

    def __init__(self, number: bytes) -> None:
        """Name the number, and the alternatives."""
        super().__init__(
            f"the data holds {number[:80].decode()}, which JSONata would alter;"
            " copy or compare that member by itself, or use set, drop, rename or python"
        )


class Expression:
    """A JSONata expression over events. Use it only in the thread that made it."""

    def __init__(self, expression: str) -> None:
        """Compile it.

        Raises:
            ValueError: it does not compile.
        """
        self._whole = _Whole(expression)
        self._expression = expression
        self._plain = grammar.parse(expression) or _partly_plain(expression)

    def value(self, document: Document) -> bytes | None:
        """Return its value for an event as JSON text; None where it is undefined.

        Raises:
            Malformed: the evaluation fails, or would not be exact.
        """
        if self._plain is not None:
            try:
                found = self._plain.value(document)
            except Undecided:
                pass
            else:
                return None if found is None else text(found)
        try:
            return self._whole.value(document)
        except Inexact:
            if self._members is None or type(document.data()) is not dict:
                raise
        # One member may copy a number that another must not see.
        made = {name: member.value(document) for name, member in self._members.items()}
        return text({name: Raw(written) for name, written in made.items() if written is not None})

    @functools.cached_property
    def _members(self) -> "dict[str, Expression] | None":
        """The members of the object that it constructs, as expressions; compiled when first needed."""
        members = narrowing.split(self._expression)
        try:
            return None if members is None else {name: Expression(part) for name, part in members.items()}
        except ValueError:  # pragma: no cover -- no expression is known that `split` splits in the wrong place
            return None

    def text(self, document: Document) -> str | None:
        """Return its value where that is text, None where it is undefined.

        Raises:
            Malformed: as for `value`, or the value is not text.
        """
        if self._plain is not None:
            try:
                scalar = self._plain.scalar(document)
            except Undecided:
                pass
            else:
                if scalar is None or type(scalar) is str:
                    return scalar
        found = self.value(document)
        if found is None:
            return None
        if found[:1] != b'"':
            raise Malformed(f"the expression gives {found[:80].decode(errors='replace')}, expected text")
        return _string(found)


def _partly_plain(expression: str) -> Term | None:
    """Return the term of an object of which some members are plain; None where none is, or it is no object.

    JSONata then gets what the others read, and makes them alone: to read and to write the rest is most of its cost.
    """
    parts = narrowing.split(expression) or {}
    members = {name: grammar.parse(part) for name, part in parts.items()}
    others = [f"{_quoted(name)}:{parts[name]}" for name, term in members.items() if term is None]
    if not 0 < len(others) < len(members):
        return None
    try:
        rest = Expression(f"{{{','.join(others)}}}")
    except ValueError:  # pragma: no cover -- as in `_members`
        return None
    return terms.constructed(members, rest.value)


def _quoted(name: str) -> str:
    """Return a name as JSONata writes it; one with a backslash is not split off."""
    quote = "'" if '"' in name else '"'
    return f"{quote}{name}{quote}"


class Condition:
    """A JSONata expression as a predicate. Use it only in the thread that made it."""

    def __init__(self, expression: str) -> None:
        """Compile it.

        Raises:
            ValueError: it does not compile.
        """
        self._whole = _Whole(f"$boolean(({expression}\n))")
        self._plain = grammar.parse(expression)

    def holds(self, document: Document) -> bool:
        """Whether its value is true as `$boolean` says; undefined is not.

        Raises:
            Malformed: the evaluation fails, or would not be exact.
        """
        if self._plain is not None:
            try:
                return bool(self._plain.test(document))
            except Undecided:
                pass
        return self._whole.value(document) == b"true"


class _Whole:
    """An expression that JSONata evaluates as a whole."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._jsonata = Jsonata(expression)
        self._uses_event = "$event" in expression
        self._names_its_members = narrowing.names_its_members(expression)
        self._reads_little = False
        """Whether the members that are named are far less than the entity was, when it was large for the first time."""
        self._seen_large = False

    def value(self, document: Document) -> bytes | None:
        """Evaluate on the entity; on the members that are named where those are few, or where others are not exact.

        Raises:
            Inexact: what it is evaluated on holds a number that JSONata would alter.
        """
        return self._jsonata.evaluate(self._root(document), _attributes(document) if self._uses_event else None)

    def _root(self, document: Document) -> bytes | None:
        data = self._named(document) if self._reads_little else None
        if data is None:
            data = document.data_text()
            if data is None:
                return None
            if len(data) >= _LARGE and not self._seen_large:
                self._seen_large = True
                named = self._named(document)
                self._reads_little = named is not None and len(named) * _LITTLE <= len(data)
            if (number := inexact(data)) is None:
                return data
            data = self._named(document)
            if data is None:
                raise Inexact(number)
        if (number := inexact(data)) is not None:
            raise Inexact(number)
        return data

    def _named(self, document: Document) -> bytes | None:
        """Return the members that are named; None where it is unknown which ones the expression reads."""
        members = document.data() if self._names_its_members else None
        return text(narrowing.narrowed(members, self._expression)) if type(members) is dict else None


def _attributes(document: Document) -> dict[str, Any]:
    """Return the value of `$event`.

    Raises:
        Malformed: an attribute is a number that JSONata would alter.
    """
    attributes = {name: bytes(raw) for name, raw in document.attributes().items() if name != "data_base64"}
    for name, written in attributes.items():
        if written[:1] != b'"' and inexact(written) is not None:
            raise Malformed(f"attribute {name!r} is {written[:80].decode()}, which JSONata would alter")
    return {name: _any_value(written) for name, written in attributes.items()}
