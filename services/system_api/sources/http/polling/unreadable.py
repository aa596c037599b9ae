"""Values that make a JSON document invalid, of which one record is to blame and not the whole page. No I/O.

Some servers write `NaN`, half of a surrogate pair, or bytes that are not UTF-8. `marked` replaces such values by a text
with a mark, so that the page can be read; the record with the mark is rejected with its original bytes (`restored`).
"""

import re

MARK = "\ufdd0"
"""A noncharacter (Unicode, section 23.7): it is not for interchange."""
_MARK = MARK.encode()

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)\b', re.DOTALL)
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\."
    r"|([\ud800-\udfff])",
    re.DOTALL,
)
_MARKED = re.compile(rb'"%b(-?[A-Z][A-Za-z]+)"|%b(?:u([0-9a-fA-F]{4})|x([0-9a-f]{2}))' % (_MARK, _MARK))
_LOWEST_BYTE = 0xDC00


def decoded(body: bytes) -> str:
    """Decode a body as UTF-8; a byte that is not becomes half of a surrogate pair, as Python's file names have it."""
    return body.decode("utf-8", "surrogateescape")


def marked(text: str) -> str:
    """Return a JSON text with a marked text in place of each value that makes it invalid."""
    return _TOKEN.sub(_marked_token, text)


def is_marked(data: bytes) -> bool:
    """Whether a value in a JSON text is marked."""
    return _MARK in data


def restored(data: bytes) -> bytes:
    """Return a JSON text as it came."""
    return _MARKED.sub(_restored_value, data)


def _marked_token(token: re.Match[str]) -> str:
    if token[0][0] != '"':
        return f'"{MARK}{token[0]}"'
    return _ESCAPE.sub(_marked_escape, token[0])


def _marked_escape(escape: re.Match[str]) -> str:
    half, byte = escape[1], escape[2]
    if half:
        return f"{MARK}u{half}"
    return f"{MARK}x{ord(byte) - _LOWEST_BYTE:02x}" if byte else escape[0]


def _restored_value(value: re.Match[bytes]) -> bytes:
    word, half, byte = value.groups()
    if word:
        return bytes(word)
    return rb"\u" + half if half else bytes.fromhex(byte.decode())
