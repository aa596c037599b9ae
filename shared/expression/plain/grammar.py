"""Parses plain expressions: those that `terms` and `sums` can evaluate, as most predicates, channels and mappings are.

    expression = condition {("and" | "or") condition}
    condition  = text [("=" | "!=" | "<" | "<=" | ">" | ">=") text | "in" "[" literals "]"]
    text       = operand {"&" operand}
    operand    = literal | path | "$event." name | "(" expression ")" | "$not(" expression ")" | "$exists(" path ")"
               | "$sum(" path ["." "(" name "*" name ")"] ")"
               | "{" text-literal ":" expression {","…} "}"

All other expressions are left to JSONata. Every plain expression is compiled by JSONata as well, so that this cannot
become a dialect.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from shared.events.event import json_string
from shared.expression.exact import number
from shared.expression.plain import sums, terms
from shared.expression.plain.terms import NULL, Scalar, Term

_TOKEN = re.compile(
    r"\s*(?:"
    r'(?P<text>"[^"\\]*"|\'[^\'\\]*\')'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.]))"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<quoted>`[^`]+`)"
    r"|(?P<call>\$(?:not|exists|sum)\s*\()"
    r"|(?P<event>\$event\b)"
    r"|(?P<sign>!=|<=|>=|[=<>&*.,:()\[\]{}])"
    r")\s*"
)
_CONSTANTS: Mapping[str, Scalar] = {"true": True, "false": False, "null": NULL}
_KEYWORDS = frozenset({*_CONSTANTS, "and", "or", "in", "function"})


class _NotPlain(Exception):
    pass


class _Token(NamedTuple):
    kind: str
    text: str


def parse(expression: str) -> Term | None:
    """Return the term of an expression, None where it is not plain."""
    try:
        parser = _Parser(list(_tokens(expression)))
        term = parser.expression()
        parser.expect("end")
    except (_NotPlain, RecursionError):
        return None
    return term


def extent(expression: str) -> int:
    """Return how many characters of an expression begin a plain one: its length where that only ends too early."""
    tokens, starts, at = [], [], 0
    while at < len(expression) and (found := _TOKEN.match(expression, at)) is not None:
        assert found.lastgroup is not None, "every alternative is named"
        tokens.append(_Token(found.lastgroup, found[found.lastgroup]))
        starts.append(found.start(found.lastgroup))
        at = found.end()
    parser = _Parser([*tokens, _Token("end" if at == len(expression) else "unknown", "")])
    try:
        parser.expression()
        parser.expect("end")
    except (_NotPlain, RecursionError):
        return [*starts, at][parser.at]
    return len(expression)


def _tokens(expression: str) -> Iterator[_Token]:
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None:
            raise _NotPlain
        assert found.lastgroup is not None, "every alternative is named"
        at = found.end()
        yield _Token(found.lastgroup, found[found.lastgroup])
    yield _Token("end", "")


class _Parser:
    """A recursive descent parser; its methods are named as the rules of the grammar above."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def expression(self) -> Term:
        return self._chain("or", lambda: self._chain("and", self._condition, terms.every), terms.some)

    def expect(self, kind: str, text: str = "") -> str:
        """Consume a token of this kind, and of this text if one is given."""
        token = self._tokens[self._at]
        if token.kind != kind or (text and token.text != text):
            raise _NotPlain
        self._at += 1
        return token.text

    @property
    def at(self) -> int:
        """The number of the next token."""
        return self._at

    def _take(self, kind: str, text: str = "") -> bool:
        """Consume the next token if it is this one; return whether it was."""
        token = self._tokens[self._at]
        taken = token.kind == kind and token.text == text
        self._at += taken
        return taken

    def _chain(self, word: str, part: Callable[[], Term], combine: Callable[[list[Term]], Term]) -> Term:
        parts = [part()]
        while self._take("word", word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else combine(parts)

    def _condition(self) -> Term:
        left = self._text()
        if self._take("word", "in"):
            return terms.among(left, self._literals())
        for sign in ("=", "!="):
            if self._take("sign", sign):
                return terms.equals(left, self._text(), wanted=sign == "=")
        for sign in terms.ORDERS:
            if self._take("sign", sign):
                return terms.compared(sign, left, self._text())
        return left

    def _text(self) -> Term:
        parts = [self._operand()]
        while self._take("sign", "&"):
            parts.append(self._operand())
        return parts[0] if len(parts) == 1 else terms.joined(parts)

    def _operand(self) -> Term:
        kind, text = self._tokens[self._at]
        if kind in {"text", "number"} or text in _CONSTANTS:
            return terms.literal(*self._literal())
        if kind in {"word", "quoted"}:
            return self._path()
        if kind == "call":
            return self._call()
        if self._take("event", "$event"):
            self.expect("sign", ".")
            return terms.attribute(self._name())
        if self._take("sign", "("):
            inner = self.expression()
            self.expect("sign", ")")
            return inner
        return self._object()

    def _literals(self) -> list[Scalar]:
        self.expect("sign", "[")
        found = [self._literal()[0]]
        while self._take("sign", ","):
            found.append(self._literal()[0])
        self.expect("sign", "]")
        return found

    def _literal(self) -> tuple[Scalar, bytes]:
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "text":
            return text[1:-1], json_string(text[1:-1])
        if kind == "number":
            return number(text.encode()), text.encode()
        if kind == "word" and text in _CONSTANTS:
            return _CONSTANTS[text], text.encode()
        self._at -= 1
        raise _NotPlain

    def _path(self) -> Term:
        names = [self._name()]
        while self._take("sign", "."):
            names.append(self._name())
        return terms.member(names)

    def _name(self) -> str:
        kind, text = self._tokens[self._at]
        if kind not in {"word", "quoted"} or text in _KEYWORDS:
            raise _NotPlain
        self._at += 1
        return text.strip("`")

    def _call(self) -> Term:
        name = self.expect("call")
        if name.startswith("$sum"):
            inner = self._summed()
        else:
            inner = terms.negated(self.expression()) if name.startswith("$not") else terms.existing(self._path())
        self.expect("sign", ")")
        return inner

    def _summed(self) -> Term:
        names = [self._name()]
        while self._take("sign", "."):
            if self._take("sign", "("):
                one = self._name()
                self.expect("sign", "*")
                other = self._name()
                self.expect("sign", ")")
                if one == other:
                    raise _NotPlain
                return sums.summed(names, [one, other])
            names.append(self._name())
        *array, number = names
        if not array:
            raise _NotPlain
        return sums.summed(array, [number])

    def _object(self) -> Term:
        self.expect("sign", "{")
        members: dict[str, Term] = {}
        while not members or self._take("sign", ","):
            name = self.expect("text")[1:-1]
            self.expect("sign", ":")
            if name in members:
                raise _NotPlain
            members[name] = self.expression()
        self.expect("sign", "}")
        return terms.constructed(members)
