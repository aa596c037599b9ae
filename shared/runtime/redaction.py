"""Redaction: removes secrets from logs, mails and errors, by their form or by the name of their field.

The second line of defence: secrets are `SecretStr`, and no code passes one to a logger.
"""

import re
from typing import Any

REDACTED = "***"

_SENSITIVE = (
    r"(?:client[_-]?secret|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credentials?|passphrase"
    r"|password|passwd|pwd|secret|ticket|token)"
)

# Each must take linear time, because some of what is logged comes from clients: each begins with a fixed text or a
# boundary, and no two adjacent repetitions match the same character.
_FORMS = (
    # name="value", 'name': 'value', with anything between the quotes.
    (re.compile(rf"""({_SENSITIVE}["']? ?[:=] ?)"(?:[^"\\]|\\.)*\"""", re.IGNORECASE | re.DOTALL), rf'\1"{REDACTED}"'),
    (re.compile(rf"""({_SENSITIVE}["']? ?[:=] ?)'(?:[^'\\]|\\.)*'""", re.IGNORECASE | re.DOTALL), rf"\1'{REDACTED}'"),
    # name=value, name: value, with a scheme before the value where there is one.
    (
        re.compile(
            rf"""({_SENSITIVE}["']?\ ?[:=]\ ?["']?)(?:(?:Bearer|Basic|Digest|Negotiate|Token)\ )?[^\s"',;&}})\]]+""",
            re.VERBOSE | re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(Bearer|Basic) [A-Za-z0-9._~+/=-]+"), rf"\1 {REDACTED}"),
    # The first two parts of a JSON Web Token are base64 of JSON objects, and begin like that of `{"`.
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*"), REDACTED),
    # The password of a URL; one that contains @ ends at the last @ before the path.
    (re.compile(r"(://[^\s:/@]*:)[^\s/]+@"), rf"\1{REDACTED}@"),
)

_SENSITIVE_NAME = re.compile(rf"(?:.*[_-])?{_SENSITIVE}", re.IGNORECASE)


def redact(text: str) -> str:
    """Return the text without the secrets that are known by their form."""
    for form, instead in _FORMS:
        text = form.sub(instead, text)
    return text


def redact_field(name: str, value: Any) -> Any:
    """Return the value of a field without secrets: of a field with a secret's name, nothing is left."""
    if _SENSITIVE_NAME.fullmatch(name):
        return REDACTED
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
    """Return the text with line breaks and control characters, which may command a terminal, escaped."""
    return text.translate(_LINE_BREAKING)
