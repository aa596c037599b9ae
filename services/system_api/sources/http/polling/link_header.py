"""The header `Link` (RFC 8288): reads the target with the relation `next`. No I/O."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from shared.errors import Malformed

_SPACE = " \t"
_TOKEN_END = frozenset(' \t;,="<>')


class Link(NamedTuple):
    """One link."""

    target: str
    """A URI reference, as it is written."""
    parameters: Mapping[str, str]
    """By name in lower case; of a name that occurs twice, the first value counts (RFC 8288, section 3)."""


def next_target(values: Iterable[str]) -> str | None:
    """Return the target of the first link whose relation is `next`, None where there is none.

    `values` are those of the header, which may occur several times.

    Raises:
        Malformed: a value is not a list of links.
    """
    for value in values:
        for link in parse(value):
            if "next" in link.parameters.get("rel", "").lower().split() and "anchor" not in link.parameters:
                return link.target
    return None


def parse(value: str) -> list[Link]:
    """Parse one value of the header (RFC 8288, appendix B.2).

    Raises:
        Malformed: it is not a list of links.
    """
    return list(_Parser(value).links())


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def links(self) -> Iterator[Link]:
        while self._skip(f"{_SPACE},"):
            if self._text[self._at] != "<":
                raise self._fault("expected '<'")
            end = self._text.find(">", self._at)
            if end < 0:
                raise self._fault("'<' is not closed")
            target = self._text[self._at + 1 : end].strip()
            self._at = end + 1
            yield Link(target, dict(reversed(list(self._parameters()))))

    def _parameters(self) -> Iterator[tuple[str, str]]:
        while self._skip(_SPACE) and self._text[self._at] == ";":
            self._at += 1
            if not self._skip(_SPACE) or self._text[self._at] in ";,":
                continue
            name = self._token()
            if not name:
                raise self._fault("expected the name of a parameter")
            value = ""
            if self._skip(_SPACE) and self._text[self._at] == "=":
                self._at += 1
                value = self._value()
            yield name.lower(), value
        if self._at < len(self._text) and self._text[self._at] != ",":
            raise self._fault("expected ';' or ','")

    def _value(self) -> str:
        if not self._skip(_SPACE):
            return ""
        return self._quoted() if self._text[self._at] == '"' else self._token()

    def _token(self) -> str:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in _TOKEN_END:
            self._at += 1
        return self._text[start : self._at]

    def _quoted(self) -> str:
        found: list[str] = []
        at = self._at + 1
        while at < len(self._text) and self._text[at] != '"':
            at += self._text[at] == "\\"
            found.append(self._text[at : at + 1])
            at += 1
        if at >= len(self._text):
            raise self._fault("'\"' is not closed")
        self._at = at + 1
        return "".join(found)

    def _skip(self, characters: str) -> bool:
        """Skip these characters; return whether anything is left."""
        while self._at < len(self._text) and self._text[self._at] in characters:
            self._at += 1
        return self._at < len(self._text)

    def _fault(self, expected: str) -> Malformed:
        found = self._text[self._at : self._at + 20]
        return Malformed(f"the header Link is malformed at character {self._at + 1}, {found!r}: {expected}")
