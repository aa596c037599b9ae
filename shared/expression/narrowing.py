"""Which members of an entity an expression can read, so that JSONata does not get numbers that it would alter.

Where an entity has a 19-digit id and the expression reads its amount, JSONata gets the amount alone. Where the
expression constructs an object, each member can be evaluated separately. Both require an expression that names the
members that it reads. That is decided from its text, conservatively: some expressions that qualify are denied.
"""

import re

from shared.expression.nodes import Members

_STRING = re.compile(r'"[^"]*"|\'[^\']*\'|`[^`]*`')
# Where an operand is expected, not an operator.
_OPERAND = r"(?:^|[\[({,;:=<>+\-/&?.!^~*%]|\b(?:and|or|in))\s*"

# The root itself ($, $$); escapes; functions that read unnamed members (of their context, of each member, of a text as
# an expression); wildcards (*, **) and parents (%), which between two operands multiply and divide.
_SEES_ALL = re.compile(
    r"\$(?![A-Za-z_])|\\|/\*|\(\s*\)|~>|\||\*\*"
    r"|\$(?:eval|each|sift|lookup)\b|\$(?:keys|spread|merge|string|clone)\b(?!\s*\()"
    rf"|{_OPERAND}[*%]"
)

# Regular expressions, comments and escapes may contain brackets and commas with another meaning.
_UNSPLITTABLE = re.compile(rf"\\|/\*|{_OPERAND}/")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


def names_its_members(expression: str) -> bool:
    """Whether the expression can read only members of the root whose names are in its text."""
    return _SEES_ALL.search(expression) is None


def narrowed(members: Members, expression: str) -> Members:
    """Return the members that an expression can read, given that it names them."""
    return {name: node for name, node in members.items() if name in expression}


def split(expression: str) -> dict[str, str] | None:
    """Return the members of the object that an expression constructs, as expressions; None where it constructs none.

    Splits the text at commas and colons outside brackets and strings; each part must compile by itself. An expression
    that cannot be split so, such as one with a regular expression, is None as well.
    """
    stripped = expression.strip()
    if stripped[:1] != "{" or stripped[-1:] != "}" or _UNSPLITTABLE.search(stripped):
        return None
    members: dict[str, str] = {}
    for part in _parts(stripped[1:-1]):
        name = _STRING.match(part.lstrip())
        rest = part.lstrip()[name.end() :].lstrip() if name else ""
        if name is None or name[0][0] == "`" or rest[:1] != ":" or name[0][1:-1] in members:
            return None
        members[name[0][1:-1]] = rest[1:]
    return members


def _parts(text: str) -> list[str]:
    """Split at the commas outside brackets and strings; return one empty part where the brackets do not match."""
    parts: list[str] = []
    closing: list[str] = []
    start = at = 0
    while at < len(text):
        letter = text[at]
        if quoted := _STRING.match(text, at):
            at = quoted.end()
            continue
        if letter in _BRACKETS:
            closing.append(_BRACKETS[letter])
        elif letter in _BRACKETS.values() and (not closing or letter != closing.pop()):
            return [""]
        elif letter == "," and not closing:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [""] if closing else [*parts, text[start:]]
