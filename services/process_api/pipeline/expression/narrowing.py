"""What an expression can see: how one that names its members is kept away from numbers that it does not touch.

An entity has a 19-digit id, and the expression asks for its amount: JSONata is then shown the amount alone. And where
the expression builds an object, its members can be found one by one, each in its own way. Both hold only for an
expression that says by name what it reads, which is told from its text, and rather too often denied than granted.
"""

import re

from services.process_api.pipeline.nodes import Members

_STRING = re.compile(r'"[^"]*"|\'[^\']*\'|`[^`]*`')
# Where an operand should stand, not an operator.
_OPERAND = r"(?:^|[\[({,;:=<>+\-/&?.!^~*%]|\b(?:and|or|in))\s*"

# The root itself ($, $$); escapes; functions that take whatever there is (the context where they are given nothing,
# members without their names, a text as an expression); wildcards (*, **) and parents (%), which between two operands
# multiply and divide.
_SEES_ALL = re.compile(
    r"\$(?![A-Za-z_])|\\|/\*|\(\s*\)|~>|\||\*\*"
    r"|\$(?:eval|each|sift|lookup)\b|\$(?:keys|spread|merge|string|clone)\b(?!\s*\()"
    rf"|{_OPERAND}[*%]"
)

# What may hold brackets and commas that mean something else: regular expressions, comments, escapes.
_UNCUT = re.compile(rf"\\|/\*|{_OPERAND}/")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


def names_its_members(expression: str) -> bool:
    """Whether the expression can only reach members of the root whose names stand in its text."""
    return _SEES_ALL.search(expression) is None


def narrowed(members: Members, expression: str) -> Members:
    """Return the members that an expression can reach, if it names them."""
    return {name: node for name, node in members.items() if name in expression}


def split(expression: str) -> dict[str, str] | None:
    """Return the members of an object that an expression builds, as expressions; None where it builds none.

    The text is only cut, at commas and colons that stand in no brackets and no strings; each part must compile by
    itself, and so whatever cannot be cut so (a regular expression may hold anything) is left whole.
    """
    stripped = expression.strip()
    if stripped[:1] != "{" or stripped[-1:] != "}" or _UNCUT.search(stripped):
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
    """Cut at the commas that stand in no brackets and no strings; one empty part where the brackets do not match."""
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
