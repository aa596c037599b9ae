"""What must not be read by whoever reads logs, mails or errors: found by its form or by its name, and struck out.

The last line of defence, not the first: secrets are `SecretStr` and are not handed to a logger at all.
"""

import re
from typing import Any

STRUCK = "***"

_HUSHED = (
    r"(?:client[_-]?secret|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credentials?|passphrase"
    r"|password|passwd|pwd|secret|ticket|token)"
)

# None of these may take more than linear time, for strangers write some of what is logged: each begins at a fixed
# text or a boundary, and no two neighbouring repetitions can match the same character.
_FORMS = (
    # name="value", 'name': 'value', whatever is between the quotes.
    (re.compile(rf"""({_HUSHED}["']? ?[:=] ?)"(?:[^"\\]|\\.)*\"""", re.IGNORECASE | re.DOTALL), rf'\1"{STRUCK}"'),
    (re.compile(rf"""({_HUSHED}["']? ?[:=] ?)'(?:[^'\\]|\\.)*'""", re.IGNORECASE | re.DOTALL), rf"\1'{STRUCK}'"),
    # name=value, name: value, with a scheme before the value where there is one.
    (
        re.compile(
            rf"""({_HUSHED}["']?\ ?[:=]\ ?["']?)(?:(?:Bearer|Basic|Digest|Negotiate|Token)\ )?[^\s"',;&}})\]]+""",
            re.VERBOSE | re.IGNORECASE,
        ),
        rf"\1{STRUCK}",
    ),
    (re.compile(r"\b(Bearer|Basic) [A-Za-z0-9._~+/=-]+"), rf"\1 {STRUCK}"),
    # The first two parts of a JSON Web Token are base64 of JSON objects, and begin as `{"` does.
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*"), STRUCK),
    # The password of a URL; one with an @ in it reaches to the last one before the path.
    (re.compile(r"(://[^\s:/@]*:)[^\s/]+@"), rf"\1{STRUCK}@"),
)

_HUSHED_NAME = re.compile(rf"(?:.*[_-])?{_HUSHED}", re.IGNORECASE)


def redact(text: str) -> str:
    """Return the text with every secret that can be told by its form struck out."""
    for form, instead in _FORMS:
        text = form.sub(instead, text)
    return text


def redact_field(name: str, value: Any) -> Any:
    """Return the value of a named field as it may be shown: whole, in part, or not at all."""
    if _HUSHED_NAME.fullmatch(name):
        return STRUCK
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {str(key): redact_field(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_field("", item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


_LINE_BREAKING = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def one_line(text: str) -> str:
    """Return the text with what would end a line, or command a terminal, written as an escape."""
    return text.translate(_LINE_BREAKING)
